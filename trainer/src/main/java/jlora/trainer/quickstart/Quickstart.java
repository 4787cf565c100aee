package jlora.trainer.quickstart;

import jlora.runtime.JloraException;
import jlora.runtime.StopRequest;
import jlora.runtime.backend.Backend;
import jlora.runtime.model.Sampler;
import jlora.trainer.config.LogFormat;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.Tokenizer;
import jlora.trainer.job.EvalJob;
import jlora.trainer.job.RunModel;
import jlora.trainer.job.TextGeneration;
import jlora.trainer.job.TrainRun;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * The first run: fine-tunes the small model that comes with jlora, shows what it writes for records
 * that it was not trained on before and after, and how many of them it gets right to the letter.
 */
public final class Quickstart {
    private static final int SHOWN = 4;
    private static final String STORY = "Anna was hungry, so she went to the";
    private static final int MAX_NEW_TOKENS = 64;

    private final Path file;
    private final List<String> words;
    private final RunConfig config;
    private final PrintWriter out;
    private StopRequest stop = new StopRequest();
    private final List<Cards.Card> cards;
    private double lossBefore;
    private long rightBefore;

    /**
     * @param file a training run on prompt_completion rows, with one eval data set of such rows
     * @param words keys that override those of the file
     */
    public Quickstart(Path file, List<String> words, PrintWriter out) {
        this.file = file;
        this.words = List.copyOf(words);
        this.config = RunConfig.load(Optional.of(file), words);
        this.out = out;
        config.require(Purpose.TRAIN);
        if (config.output().logFormat() != LogFormat.TEXT) {
            throw JloraException.usage(
                    "quickstart shows a person what training does, in text alone; use train for"
                            + " log_format json.");
        }
        this.cards = Cards.read(config.data().evalDatasets().getFirst().path());
    }

    /** Ends the training when it is asked to. */
    public Quickstart stopBy(StopRequest request) {
        stop = request;
        return this;
    }

    /** The run's configuration in a checkout of jlora. */
    public static Path configFile(Path home) {
        return home.resolve("quickstart").resolve("quickstart.yaml");
    }

    /** Refuses a folder that is no checkout of jlora. */
    public static void requireFiles(Path home) {
        if (!Files.isRegularFile(configFile(home))) {
            throw JloraException.usage(
                    configFile(home)
                            + " is missing: model and data of the quickstart are part of jlora's"
                            + " repository; start it there, as ./jlora quickstart.");
        }
    }

    public void run() {
        out.println(
                "jlora quickstart: teaches a small language model to write sentences from"
                        + " records.");
        out.println(
                "The base model has read short English stories, but never a record. It stays as it"
                        + " is; a LoRA adapter is trained beside it.");
        out.println();
        new TrainRun(config, out).before(this::before).after(this::after).stopBy(stop).run();
        next();
    }

    private void before(Backend backend, RunModel model) {
        lossBefore = loss(config, backend);
        out.println();
        try (TextGeneration generation = open(backend, model)) {
            out.println("The base model goes on with a story:");
            out.println();
            out.println("  " + STORY + "…");
            out.println("              " + continuation(generation, STORY));
            out.println();
            out.println("but not with records:");
            for (Cards.Card card : cards.subList(0, SHOWN)) {
                out.println();
                out.println("  " + card.prompt());
                out.println("    before    " + continuation(generation, card.prompt()));
                out.flush();
            }
            rightBefore = right(generation);
        }
        out.println();
        out.println("Training:");
        out.flush();
    }

    private void after(Backend backend, RunModel model) {
        out.println();
        out.println("After, for the same records, none of which it was trained on:");
        long right;
        try (TextGeneration generation = open(backend, model)) {
            for (Cards.Card card : cards.subList(0, SHOWN)) {
                out.println();
                out.println("  " + card.prompt());
                out.println("    after     " + continuation(generation, card.prompt()));
                out.println("    expected  " + card.completion().strip());
                out.flush();
            }
            right = right(generation);
        }
        List<String> withAdapter = new ArrayList<>(words);
        withAdapter.add("adapter_name_or_path=" + output().toAbsolutePath());
        double lossAfter = loss(RunConfig.load(Optional.of(file), withAdapter), backend);
        out.println();
        out.printf(
                Locale.ROOT,
                "On %d held-out records                before     after%n"
                        + "  loss per token                %10.4f%10.4f%n"
                        + "  written to the letter         %10d%10d%n%n",
                cards.size(),
                lossBefore,
                lossAfter,
                rightBefore,
                right);
        out.flush();
    }

    private static double loss(RunConfig config, Backend backend) {
        try (EvalJob job = new EvalJob(config, backend)) {
            return job.evaluate().loss();
        }
    }

    private long right(TextGeneration generation) {
        return cards.stream()
                .filter(c -> continuation(generation, c.prompt()).equals(c.completion().strip()))
                .count();
    }

    private Path output() {
        return config.output().outputDir().orElseThrow();
    }

    private TextGeneration open(Backend backend, RunModel model) {
        return TextGeneration.of(backend, model.model(), Tokenizer.open(model.folder()));
    }

    private static String continuation(TextGeneration generation, String prompt) {
        Sampler greedy = new Sampler(0, 1, 0);
        return generation.run(prompt, MAX_NEW_TOKENS, greedy, piece -> {}).strip();
    }

    private void next() {
        Path base = here(config.model().modelNameOrPath().orElseThrow());
        Path adapter = here(output());
        out.println();
        out.println("Next:");
        out.println("  ./jlora generate --model_name_or_path " + base + " \\");
        out.println(
                "      --adapter_name_or_path "
                        + adapter
                        + " \\\n      --prompt '"
                        + cards.getLast().prompt()
                        + "'");
        out.println(
                "  ./jlora train -c FILE     your own model and data; quickstart/quickstart.yaml is"
                        + " an example");
        out.println("  ./jlora --help            all commands");
        out.flush();
    }

    /** A path as it is shortest from the working folder. */
    private static Path here(Path path) {
        Path working = Path.of("").toAbsolutePath();
        Path absolute = path.toAbsolutePath().normalize();
        return absolute.startsWith(working) ? working.relativize(absolute) : absolute;
    }
}
