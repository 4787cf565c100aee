package jlora.trainer.config;

import java.nio.file.Path;

/** Which checkpoint a run goes on from. */
public sealed interface ResumeFrom {
    /** The newest whole one in output_dir; where there is none, the run starts anew. */
    record Auto() implements ResumeFrom {
        @Override
        public String toString() {
            return "auto";
        }
    }

    /** Exactly this one; that it cannot be used is an error. */
    record Folder(Path path) implements ResumeFrom {
        @Override
        public String toString() {
            return path.toString();
        }
    }
}
