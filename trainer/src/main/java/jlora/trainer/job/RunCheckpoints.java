package jlora.trainer.job;

import jlora.trainer.checkpoint.BackgroundSave;
import jlora.trainer.checkpoint.CheckpointContents;
import jlora.trainer.checkpoint.CheckpointFolder;
import jlora.trainer.checkpoint.CheckpointState;
import jlora.trainer.checkpoint.ParameterCopy;
import jlora.trainer.checkpoint.RunIdentity;
import jlora.trainer.config.SaveConfig;
import jlora.trainer.config.SaveStrategy;
import jlora.trainer.loop.Checkpointer;
import jlora.trainer.loop.Progress;

import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Writes the checkpoints of a run into its output folder: copies the state between two steps and
 * writes the copy beside the steps that follow.
 */
final class RunCheckpoints implements Checkpointer, AutoCloseable {
    private final SaveConfig config;
    private final TrainJob job;
    private final RunFiles files;
    private final Path folder;
    private final Supplier<RunIdentity> identity;
    private final Consumer<CheckpointFolder> saved;
    private final BackgroundSave background = new BackgroundSave();
    private Optional<Progress> last;
    private boolean owed;
    private long asked = System.nanoTime();

    /**
     * @param last that the run goes on from, and is on disk
     * @param identity of the run; made when the first checkpoint is written
     * @param saved hears of every checkpoint that was written, on the thread that wrote it
     */
    RunCheckpoints(
            TrainJob job,
            RunFiles files,
            Path folder,
            Optional<Progress> last,
            Supplier<RunIdentity> identity,
            Consumer<CheckpointFolder> saved) {
        this.config = job.model().config().save();
        this.job = job;
        this.files = files;
        this.folder = folder;
        this.last = last;
        this.identity = identity;
        this.saved = saved;
        if (config.saveStrategy() != SaveStrategy.NO) {
            job.copy(); // all memory is taken before the first step
        }
    }

    @Override
    public boolean due(long step, boolean epochEnds) {
        owed |=
                switch (config.saveStrategy()) {
                    case STEPS -> step % config.saveSteps() == 0;
                    case EPOCH -> epochEnds;
                    case NO, BEST -> false;
                };
        long now = System.nanoTime();
        long stepNanos = now - asked;
        // Asked at every step, so that a failed write ends the run at the next one.
        boolean busy = background.busy();
        if (owed && busy && !mustCoincide()) {
            background.await(stepNanos);
            busy = background.busy();
        }
        asked = System.nanoTime();
        return owed && (!busy || mustCoincide());
    }

    /** The checkpoint of an evaluation cannot be put off to a step that is not evaluated. */
    private boolean mustCoincide() {
        return config.loadBestModelAtEnd();
    }

    @Override
    public boolean wantsBest() {
        // With load_best_model_at_end it must be there at the end, whether or not a save is due.
        return config.saveStrategy() == SaveStrategy.BEST || config.loadBestModelAtEnd();
    }

    @Override
    public void save(Progress progress, boolean best) {
        background.await();
        CheckpointContents contents = contents(progress, best);
        background.start(() -> write(progress, contents));
        last = Optional.of(progress);
        owed = false;
    }

    @Override
    public boolean stop(Progress progress) {
        if (config.saveStrategy() == SaveStrategy.NO) {
            return false;
        }
        background.await();
        // Before the first step of a new run there is nothing to keep: it starts anew.
        if (progress.step() > 0 && !last.equals(Optional.of(progress))) {
            write(progress, contents(progress, false));
        }
        return true;
    }

    /** Waits for what is being written. */
    void await() {
        background.await();
    }

    private CheckpointContents contents(Progress progress, boolean best) {
        ParameterCopy copy = job.copy();
        copy.take(job.session().backend());
        if (best) {
            files.bestCheckpoint(folder.resolve("checkpoint-" + progress.step()));
        }
        RunFiles.Records records = files.records();
        return new CheckpointContents(
                () -> new CheckpointState(progress, records.log(), identity.get()),
                job.model().config().toYaml(),
                records.trainerState(),
                records.metrics(),
                records.metricsBytes(),
                copy,
                to -> job.writeAdapter(to, copy));
    }

    private void write(Progress progress, CheckpointContents contents) {
        CheckpointFolder written = CheckpointFolder.write(folder, progress.step(), contents::write);
        long best = config.loadBestModelAtEnd() ? progress.best().step() : 0;
        config.saveTotalLimit().ifPresent(limit -> CheckpointFolder.prune(folder, limit, best));
        saved.accept(written);
    }

    @Override
    public void close() {
        background.close();
    }
}
