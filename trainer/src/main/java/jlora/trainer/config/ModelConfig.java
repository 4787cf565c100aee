package jlora.trainer.config;

import jlora.runtime.backend.cuda.AttentionEngine;
import jlora.runtime.backend.cuda.CudaBinding;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** Which model a run opens, and what it runs on. */
public record ModelConfig(
        @Key(
                        mayChange = true,
                        doc =
                                "Folder of the base model in Hugging Face form: config.json,"
                                        + " safetensors and tokenizer.json. Nothing is downloaded.",
                        aka = {
                            "model",
                            "model_path",
                            "base_model",
                            "pretrained_model_name_or_path"
                        })
                Optional<Path> modelNameOrPath,
        @Key(
                        mayChange = true,
                        doc =
                                "PEFT adapter folder to continue training from, to evaluate or to"
                                    + " merge. It brings its own LoRA settings; giving a lora key"
                                    + " that differs is an error.",
                        aka = {"adapter", "adapter_path", "lora_model_dir", "peft_model"})
                Optional<Path> adapterNameOrPath,
        @Key(
                        mayChange = true,
                        doc =
                                "Use an adapter over other base weights than it was trained on,"
                                        + " such as the same model saved in another type; otherwise"
                                        + " that is an error, where the adapter says what it was"
                                        + " trained on.",
                        value = "false")
                boolean allowOtherBase,
        @Key(
                        doc =
                                "Draw the base weights at random (seeded by seed) from config.json"
                                        + " alone instead of reading safetensors.",
                        value = "false")
                boolean randomInit,
        @Key(
                        doc =
                                "Type of the weights and of the matrix products: auto, float32 or"
                                        + " bfloat16. auto is float32 on the CPU and bfloat16 on a"
                                        + " GPU.",
                        value = "auto",
                        aka = {"torch_dtype", "bf16", "fp16", "precision", "mixed_precision"})
                ComputeType dtype,
        @Key(
                        mayChange = true,
                        doc =
                                "Where to run: auto, cpu, cuda or cuda:N (cuda is cuda:0). auto"
                                        + " takes the first GPU, or the CPU where there is none; a"
                                        + " device that is named and not there is an error.",
                        value = "auto",
                        aka = {"use_cpu", "no_cuda", "gpu"})
                String device,
        @Key(
                        mayChange = true,
                        doc =
                                "Who calls the CUDA driver: panama (Java itself) or jcuda (JCuda"
                                        + " 12.6, for programs that use it already).",
                        value = "panama")
                CudaBinding cudaBinding,
        @Key(
                        mayChange = true,
                        doc =
                                "Threads of the CPU backend. Results are the same bits for the same"
                                        + " number of threads.",
                        derived = "the processors the JVM may use",
                        unit = "threads",
                        bounds = "[1, 4096]",
                        aka = {"num_threads", "threads"})
                Optional<Integer> cpuThreads,
        @Key(
                        doc =
                                "Who computes matrix products on the CPU: auto, onednn or vector"
                                    + " (Java's Vector API). auto is onednn where it has a build"
                                    + " for the platform; one that is named and not available is an"
                                    + " error.",
                        value = "auto")
                ProductEngine products,
        @Key(
                        doc =
                                "Who computes attention on a GPU: auto, cudnn or own (jlora's"
                                    + " kernels). auto is cudnn where it is installed, can do what"
                                    + " a run needs and agrees with own on a small example; cudnn"
                                    + " without any of these is an error. On the CPU only auto.",
                        value = "auto")
                AttentionEngine attention,
        @Key(
                        mayChange = true,
                        doc =
                                "Memory that the planned run may take, such as 12GiB, 800MB or a"
                                    + " number of bytes. A plan that needs more is refused before"
                                    + " anything is loaded.",
                        derived = "the memory of the device",
                        unit = "bytes",
                        aka = {"max_memory", "memory"})
                Optional<ByteSize> memoryLimit) {
    private static final Pattern DEVICE = Pattern.compile("auto|cpu|cuda(:\\d{1,3})?");

    public ModelConfig {
        Keys.of(ModelConfig.class).check("cpu_threads", cpuThreads);
        if (!DEVICE.matcher(device).matches()) {
            throw new BadValueException(
                    List.of("device"),
                    "device is '"
                            + device
                            + "', but must be auto, cpu, cuda or cuda:N such as cuda:0");
        }
    }
}
