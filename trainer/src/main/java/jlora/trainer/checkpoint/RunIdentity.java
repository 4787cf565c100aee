package jlora.trainer.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import java.util.ArrayList;
import java.util.List;

/**
 * What a run must share with a checkpoint to go on from it, beside its configuration.
 *
 * @param model fingerprint of the base model
 * @param data fingerprint of the rows to train and to evaluate on
 * @param dtype of the weights
 * @param workers that share a step
 * @param device what computes, in words, with its threads
 */
public record RunIdentity(String model, String data, String dtype, int workers, String device) {

    void write(ObjectNode json) {
        json.put("model", model);
        json.put("data", data);
        json.put("dtype", dtype);
        json.put("workers", workers);
        json.put("device", device);
    }

    static RunIdentity read(JsonNode json) {
        return new RunIdentity(
                json.path("model").asText(),
                json.path("data").asText(),
                json.path("dtype").asText(),
                json.path("workers").intValue(),
                json.path("device").asText());
    }

    /** Why a run cannot go on from a checkpoint that has this identity; empty if it can. */
    List<String> differences(RunIdentity run) {
        List<String> differences = new ArrayList<>();
        if (!model.equals(run.model)) {
            differences.add(
                    "the base model is another one (fingerprint "
                            + run.model
                            + " instead of "
                            + model
                            + ")");
        }
        if (!data.equals(run.data)) {
            differences.add(
                    "the data are other rows (fingerprint "
                            + run.data
                            + " instead of "
                            + data
                            + ")");
        }
        if (!dtype.equals(run.dtype)) {
            differences.add("the weights are " + run.dtype + " instead of " + dtype);
        }
        if (workers != run.workers) {
            differences.add("there are " + run.workers + " workers instead of " + workers);
        }
        return differences;
    }

    /** What may change the last bits of a run that goes on; empty if nothing does. */
    List<String> notes(RunIdentity run) {
        List<String> notes = new ArrayList<>();
        if (!device.equals(run.device)) {
            notes.add(
                    "the checkpoint was written on "
                            + device
                            + "; on another device, or with other threads, the last bits differ"
                            + " from those of a run that was not interrupted");
        }
        return notes;
    }
}
