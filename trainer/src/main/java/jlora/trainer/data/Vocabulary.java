package jlora.trainer.data;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.Json;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;

/**
 * The part of a tokenizer.json that the native library does not tell: how many ids there are, and
 * the ids of a few tokens. Read as a stream, since vocabularies of a quarter of a million entries
 * are common.
 *
 * @param size the largest id plus one
 */
record Vocabulary(int size, Map<String, Integer> ids) {
    OptionalInt id(String token) {
        Integer id = ids.get(token);
        return id == null ? OptionalInt.empty() : OptionalInt.of(id);
    }

    static Vocabulary read(Path file, String json, Set<String> wanted) {
        var reader = new Reader(wanted);
        try (JsonParser parser = new JsonFactory().createParser(json)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw JloraException.corrupt(
                        file + " is not a JSON object; get the tokenizer's files again.");
            }
            reader.file(parser);
            if (parser.nextToken() != null) {
                throw JloraException.corrupt(
                        file
                                + " goes on after its closing brace; get the tokenizer's files"
                                + " again.");
            }
        } catch (JacksonException e) {
            throw new JloraException(
                    ExitCode.CORRUPT_INPUT,
                    file
                            + " is not valid JSON in line "
                            + (e.getLocation() == null ? 1 : e.getLocation().getLineNr())
                            + " ("
                            + Json.cause(e)
                            + "); get the tokenizer's files again.",
                    e);
        } catch (IOException e) {
            throw new IllegalStateException("reading from memory", e);
        }
        if (reader.largest < 0) {
            throw JloraException.corrupt(
                    file
                            + " has no model.vocab; it is not a tokenizer.json, get the tokenizer's"
                            + " files again.");
        }
        return new Vocabulary(reader.largest + 1, Map.copyOf(reader.ids));
    }

    private static final class Reader {
        private final Set<String> wanted;
        private final Map<String, Integer> ids = new HashMap<>();
        private int largest = -1;

        Reader(Set<String> wanted) {
            this.wanted = wanted;
        }

        void file(JsonParser parser) throws IOException {
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String key = parser.currentName();
                JsonToken value = parser.nextToken();
                if (key.equals("added_tokens") && value == JsonToken.START_ARRAY) {
                    while (parser.nextToken() == JsonToken.START_OBJECT) {
                        addedToken(parser);
                    }
                } else if (key.equals("model") && value == JsonToken.START_OBJECT) {
                    model(parser);
                } else {
                    parser.skipChildren();
                }
            }
        }

        private void addedToken(JsonParser parser) throws IOException {
            String content = null;
            int id = -1;
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String key = parser.currentName();
                JsonToken value = parser.nextToken();
                if (key.equals("content") && value == JsonToken.VALUE_STRING) {
                    content = parser.getText();
                } else if (key.equals("id") && value == JsonToken.VALUE_NUMBER_INT) {
                    id = parser.getIntValue();
                } else {
                    parser.skipChildren();
                }
            }
            if (content != null && id >= 0) {
                add(content, id);
            }
        }

        private void model(JsonParser parser) throws IOException {
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String key = parser.currentName();
                JsonToken value = parser.nextToken();
                if (key.equals("vocab") && value == JsonToken.START_OBJECT) {
                    while (parser.nextToken() == JsonToken.FIELD_NAME) {
                        String token = parser.currentName();
                        if (parser.nextToken() == JsonToken.VALUE_NUMBER_INT) {
                            add(token, parser.getIntValue());
                        } else {
                            parser.skipChildren();
                        }
                    }
                } else if (key.equals("vocab") && value == JsonToken.START_ARRAY) {
                    unigrams(parser);
                } else {
                    parser.skipChildren();
                }
            }
        }

        // Unigram: a list of [token, score]; the index is the id.
        private void unigrams(JsonParser parser) throws IOException {
            for (int id = 0; parser.nextToken() == JsonToken.START_ARRAY; id++) {
                if (parser.nextToken() == JsonToken.VALUE_STRING) {
                    add(parser.getText(), id);
                }
                while (parser.currentToken() != JsonToken.END_ARRAY) {
                    parser.nextToken();
                }
            }
        }

        private void add(String token, int id) {
            largest = Math.max(largest, id);
            if (wanted.contains(token)) {
                ids.putIfAbsent(token, id);
            }
        }
    }
}
