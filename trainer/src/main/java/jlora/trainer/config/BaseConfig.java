package jlora.trainer.config;

import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.weight.FrozenStorage;

import java.util.ArrayList;
import java.util.List;

/** How the frozen matrices of a base model's layers stay in memory. */
public record BaseConfig(
        @Key(
                        name = "load_in_4bit",
                        doc =
                                "Keep the matrices of all layers in four bits an element (QLoRA):"
                                        + " quantised while they are read, expanded layer by layer"
                                        + " ahead of use. Embeddings, norms and the output head"
                                        + " stay as they are; the adapter is exact.",
                        value = "false",
                        aka = {"quantization", "quantization_bit", "quantization_method", "qlora"})
                boolean loadIn4bit,
        @Key(
                        name = "bnb_4bit_quant_type",
                        doc =
                                "What the four bits mean: nf4 or fp4. BitsAndBytesConfig has fp4"
                                        + " where nothing is said; QLoRA is nf4.",
                        value = "nf4",
                        aka = {"quant_type"})
                FourBitMatrix.Type bnb4bitQuantType,
        @Key(
                        name = "bnb_4bit_use_double_quant",
                        doc =
                                "Keep the scales of four-bit matrices in eight bits: 4.13 instead"
                                    + " of 4.5 bits an element. BitsAndBytesConfig has false where"
                                    + " nothing is said; QLoRA is true.",
                        value = "true",
                        aka = {"double_quant", "double_quantization"})
                boolean bnb4bitUseDoubleQuant,
        @Key(
                        doc =
                                "What the matrices of layers are stored and multiplied as: auto"
                                    + " (dtype) or fp8 (E4M3: activations are quantised for each"
                                    + " product; adapters and their gradients stay in dtype). On"
                                    + " GPUs of sm_90; the CPU computes the same, slowly.",
                        value = "auto",
                        aka = {"fp8", "base_dtype"})
                WeightType weightDtype,
        @Key(
                        doc =
                                "Which elements share a scale with weight_dtype fp8: row (an output"
                                        + " row of a weight, a token's row of activations) or block"
                                        + " (128 x 128 of a weight, 128 adjacent of a token).",
                        value = "row",
                        aka = {"fp8_scaling", "fp8_recipe"})
                Fp8Scales fp8Scales,
        @Key(
                        mayChange = true,
                        doc =
                                "Where the matrices of layers stay: none (in the memory of the"
                                        + " device) or host (in page-locked memory of the host,"
                                        + " copied to the device ahead of use, for bases larger"
                                        + " than the device).",
                        value = "none",
                        aka = {"cpu_offload", "offload_params", "device_map", "max_memory_gpu"})
                Offload offload,
        @Key(
                        mayChange = true,
                        doc =
                                "With offload host, go on where copying takes longer than"
                                        + " computing: the run then goes at the speed of the"
                                        + " copies.",
                        value = "false")
                boolean allowSlowOffload) {

    /** What the keys say together. */
    public FrozenStorage storage() {
        return new FrozenStorage(form(), offload == Offload.HOST);
    }

    private FrozenStorage.Form form() {
        if (loadIn4bit) {
            return new FrozenStorage.Form.FourBit(bnb4bitQuantType, bnb4bitUseDoubleQuant);
        }
        return switch (weightDtype) {
            case AUTO -> new FrozenStorage.Form.Plain();
            case FP8 -> new FrozenStorage.Form.Fp8(fp8Scales.scaling());
        };
    }

    BaseConfig in4bit() {
        return new BaseConfig(
                true,
                bnb4bitQuantType,
                bnb4bitUseDoubleQuant,
                WeightType.AUTO,
                fp8Scales,
                offload,
                allowSlowOffload);
    }

    /** What the configuration says that has no effect. */
    List<String> notes(RunConfig config) {
        List<String> notes = new ArrayList<>();
        for (String key : List.of("bnb_4bit_quant_type", "bnb_4bit_use_double_quant")) {
            if (config.isSet(key) && !loadIn4bit) {
                notes.add(key + " has no effect without load_in_4bit: true.");
            }
        }
        if (config.isSet("fp8_scales") && weightDtype != WeightType.FP8) {
            notes.add("fp8_scales has no effect without weight_dtype: fp8.");
        }
        if (config.isSet("allow_slow_offload") && offload == Offload.NONE) {
            notes.add("allow_slow_offload has no effect without offload: host.");
        }
        return notes;
    }
}
