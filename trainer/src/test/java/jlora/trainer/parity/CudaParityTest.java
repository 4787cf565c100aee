package jlora.trainer.parity;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cuda.Emulator;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The recorded runs of {@link ParityTest} on the CUDA backend, run by the emulator. */
@Tag("emulator")
class CudaParityTest {
    @ParameterizedTest
    @MethodSource("jlora.trainer.parity.ParityTest#cases")
    void trainsAsPeftDoes(String name) {
        try (Backend backend = Emulator.open().backend()) {
            ParityTest.check(name, backend);
        }
    }
}
