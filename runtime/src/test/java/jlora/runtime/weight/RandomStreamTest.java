package jlora.runtime.weight;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;

/** A model that was initialised with a seed once is initialised alike for ever. */
final class RandomStreamTest {
    /** Formed from the words of Philox by a program of its own. */
    private static final double[] EXPECTED = {
        0.0002744819352029943,
        -0.5878026313958987,
        -0.8700751995230386,
        -1.5344801475771312,
        1.9089519390572303,
        1.364856462948357,
        -0.26502308254978235,
        -0.020737864476764376
    };

    @Test
    void normalNumbersOfANameAreTheseForEver() {
        RandomStream random = new RandomStream(42, "model.norm.weight");
        for (double expected : EXPECTED) {
            assertEquals(expected, random.normal(), 1e-15);
        }
    }

    @Test
    void fillingATensorDrawsItsStreamInOrder() {
        Tensor to = Tensor.padded("w", Storage.Role.WEIGHT, DType.F32, 37, 1030, 3);
        try (CpuBackend backend = new CpuBackend(CpuOptions.defaults());
                MemoryArena memory = backend.allocate("weights", to.storage().bytes())) {
            memory.place(to.storage(), 0);
            backend.kernels().randomFill().normal(to, 0, 7, RandomStream.number("name"), 0.02);
            float[] values = HostValues.read(backend, to);
            RandomStream random = new RandomStream(7, "name");
            for (float value : values) {
                assertEquals((float) (random.normal() * 0.02), value);
            }
        }
    }
}
