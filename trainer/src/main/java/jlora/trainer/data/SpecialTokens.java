package jlora.trainer.data;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.Json;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * What the files beside a tokenizer.json say about its special tokens. Names
 * (tokenizer_config.json, then special_tokens_map.json) go before ids (config.json, then
 * generation_config.json), because the names belong to the tokenizer and the ids to the model.
 *
 * @param bos begin of sequence, as text
 * @param bosIds as the model names it, by id; several are possible for eos
 * @param stopIds where generation ends (generation_config.json, then config.json)
 * @param addBos whether encoding puts bos first; empty when tokenizer.json's post-processor decides
 */
record SpecialTokens(
        Optional<String> bos,
        Optional<String> eos,
        Optional<String> pad,
        List<Integer> bosIds,
        List<Integer> eosIds,
        List<Integer> padIds,
        List<Integer> stopIds,
        Optional<Boolean> addBos,
        Optional<Boolean> addEos) {
    private static final ObjectMapper JSON = new ObjectMapper();

    static SpecialTokens read(Path folder) {
        JsonNode tokenizer = object(folder.resolve("tokenizer_config.json"));
        JsonNode map = object(folder.resolve("special_tokens_map.json"));
        JsonNode generation = object(folder.resolve("generation_config.json"));
        JsonNode model = object(folder.resolve("config.json"));
        return new SpecialTokens(
                name("bos_token", tokenizer, map),
                name("eos_token", tokenizer, map),
                name("pad_token", tokenizer, map),
                ids("bos_token_id", model, generation),
                ids("eos_token_id", model, generation),
                ids("pad_token_id", model, generation),
                ids("eos_token_id", generation, model),
                flag("add_bos_token", tokenizer),
                flag("add_eos_token", tokenizer));
    }

    private static JsonNode object(Path file) {
        if (!Files.exists(file)) {
            return JSON.createObjectNode();
        }
        try {
            JsonNode node = JSON.readTree(Files.readAllBytes(file));
            if (node != null && node.isObject()) {
                return node;
            }
            throw JloraException.corrupt(file + " is not a JSON object; get the file again.");
        } catch (JacksonException e) {
            throw new JloraException(
                    ExitCode.CORRUPT_INPUT,
                    file + " is not valid JSON (" + Json.cause(e) + "); get the file again.",
                    e);
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CORRUPT_INPUT,
                    file + " cannot be read (" + e.getMessage() + "); check its permissions.",
                    e);
        }
    }

    // A token is plain text, or an AddedToken object whose text is its content.
    private static Optional<String> name(String key, JsonNode... files) {
        for (JsonNode file : files) {
            JsonNode value = file.path(key);
            JsonNode text = value.isObject() ? value.path("content") : value;
            if (text.isTextual()) {
                return Optional.of(text.textValue());
            }
        }
        return Optional.empty();
    }

    private static List<Integer> ids(String key, JsonNode... files) {
        for (JsonNode file : files) {
            JsonNode value = file.path(key);
            List<Integer> ids = new ArrayList<>();
            for (JsonNode id : value.isArray() ? value : List.of(value)) {
                if (id.canConvertToInt() && id.isIntegralNumber()) {
                    ids.add(id.intValue());
                }
            }
            if (!ids.isEmpty()) {
                return List.copyOf(ids);
            }
        }
        return List.of();
    }

    private static Optional<Boolean> flag(String key, JsonNode file) {
        JsonNode value = file.path(key);
        return value.isBoolean() ? Optional.of(value.booleanValue()) : Optional.empty();
    }
}
