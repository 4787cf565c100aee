package jlora.trainer.quickstart;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import jlora.runtime.JloraException;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;

/**
 * What the quickstart fine-tunes on: a record of a place to eat, and the sentences that say the
 * same. The base model has read of all these things but never seen a record.
 */
final class Cards {
    /**
     * @param prompt the record
     * @param completion the sentences, with a space before them
     */
    record Card(String prompt, String completion) {}

    private static final int HELD_OUT = 7;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Words words;
    private final Names names;
    private final Random random;
    private final boolean heldOut;

    /**
     * @param heldOut whether to draw names that no training text has, together with kinds of places
     *     in areas where the other cards never have them
     */
    Cards(Words words, long seed, boolean heldOut) {
        this.words = words;
        this.names = new Names(words);
        this.random = new Random(seed);
        this.heldOut = heldOut;
    }

    Card next() {
        String name = Words.capital(names.draw(random, heldOut).text());
        int kind;
        int area;
        do {
            kind = random.nextInt(words.list("kind").size());
            area = random.nextInt(words.list("area").size());
        } while (heldOut(kind, area) != heldOut);
        String kindText = words.list("kind").get(kind).text();
        Words.Entry areaEntry = words.list("area").get(area);
        Words.Entry price = draw("price");
        Words.Entry food = draw("food");
        Words.Entry hour = draw("hour");
        Words.Entry dogs = draw("dogs");
        boolean opens = random.nextInt(3) > 0;
        boolean rule = random.nextInt(3) > 0;

        StringBuilder prompt = new StringBuilder();
        prompt.append("name: ").append(name);
        prompt.append(" | kind: ").append(kindText);
        prompt.append(" | area: ").append(areaEntry.column("card"));
        prompt.append(" | price: ").append(price.column("card"));
        prompt.append(" | food: ").append(food.text());
        StringBuilder text = new StringBuilder();
        String article = "aeiou".indexOf(price.text().charAt(0)) >= 0 ? "an " : "a ";
        text.append(' ').append(name).append(" is ").append(article).append(price.text());
        text.append(' ').append(kindText).append(' ').append(areaEntry.column("by")).append('.');
        text.append(" It serves ").append(food.text());
        if (opens) {
            prompt.append(" | opens: ").append(hour.text());
            text.append(" and opens at ").append(hour.column("words"));
        }
        text.append('.');
        if (rule) {
            prompt.append(" | dogs: ").append(dogs.text());
            text.append(' ').append(dogs.column("rule")).append('.');
        }
        return new Card(prompt.append(" ->").toString(), text.toString());
    }

    /** Cards as {@link QuickstartData} writes them. */
    static List<Card> read(Path file) {
        try (Stream<String> lines = Files.lines(file)) {
            return lines.map(Cards::parse).toList();
        } catch (IOException | UncheckedIOException e) {
            throw JloraException.corrupt(
                    file + " cannot be read (" + e.getMessage() + "); check its permissions.");
        }
    }

    private static Card parse(String line) {
        try {
            JsonNode row = JSON.readTree(line);
            return new Card(row.path("prompt").asText(), row.path("completion").asText());
        } catch (JsonProcessingException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static boolean heldOut(int kind, int area) {
        return (3 * kind + area) % HELD_OUT == 0;
    }

    private Words.Entry draw(String list) {
        List<Words.Entry> all = words.list(list);
        return all.get(random.nextInt(all.size()));
    }
}
