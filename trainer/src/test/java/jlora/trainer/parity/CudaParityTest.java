package jlora.trainer.parity;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cuda.Emulator;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.util.List;

/** The recorded runs of {@link ParityTest} on the CUDA backend, run by the emulator. */
@Tag("emulator")
class CudaParityTest {
    /** One of each kind: both architectures, padding, accumulation, whole weights. */
    private static final List<String> SOME =
            List.of(
                    "gpt2_c_attn",
                    "llama_accumulate",
                    "llama_bias_all_linear",
                    "llama_full",
                    "llama_pad_left");

    static List<String> others() throws IOException {
        return ParityTest.cases().stream().filter(name -> !SOME.contains(name)).toList();
    }

    @ParameterizedTest
    @FieldSource("SOME")
    void trainsAsPeftDoes(String name) {
        check(name);
    }

    @Tag("cluster")
    @ParameterizedTest
    @MethodSource("others")
    void trainsAsPeftDoesInAllOtherWays(String name) {
        check(name);
    }

    private static void check(String name) {
        try (Backend backend = Emulator.open().backend()) {
            ParityTest.check(name, backend);
        }
    }
}
