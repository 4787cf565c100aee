package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.nio.file.Path;

/** Who computes attention on a GPU, and that a library that computes it wrongly is found out. */
final class CudaAttentionTest {
    private static final AttentionShape SHAPE = new AttentionShape(2, 1, 32, 0.2f, 0);

    private static Emulator emulator;
    private static CudaBackend backend;
    private static OwnAttention own;

    /** Our kernels, which pass, with a fault put in by subclasses. */
    private static class Library implements AttentionKernel {
        @Override
        public void forward(
                Tensor out,
                Tensor lse,
                Tensor qkv,
                PackedSequences sequences,
                AttentionShape shape) {
            own.forward(out, lse, qkv, sequences, shape);
        }

        @Override
        public void backward(
                Tensor dQkv,
                Tensor dOut,
                Tensor out,
                Tensor lse,
                Tensor qkv,
                PackedSequences sequences,
                AttentionShape shape) {
            own.backward(dQkv, dOut, out, lse, qkv, sequences, shape);
        }
    }

    /** Sees one position more than it should. */
    private static final class WrongWindow extends Library {
        private static AttentionShape wider(AttentionShape s) {
            return new AttentionShape(
                    s.heads(), s.kvHeads(), s.headDim(), s.scale(), s.window() + 8);
        }

        @Override
        public void forward(
                Tensor out,
                Tensor lse,
                Tensor qkv,
                PackedSequences sequences,
                AttentionShape shape) {
            own.forward(out, lse, qkv, sequences, wider(shape));
        }

        @Override
        public void backward(
                Tensor dQkv,
                Tensor dOut,
                Tensor out,
                Tensor lse,
                Tensor qkv,
                PackedSequences sequences,
                AttentionShape shape) {
            own.backward(dQkv, dOut, out, lse, qkv, sequences, wider(shape));
        }
    }

    /** Does not write the rows that belong to no sequence. */
    private static final class LeavesRows extends Library {
        @Override
        public void forward(
                Tensor out,
                Tensor lse,
                Tensor qkv,
                PackedSequences sequences,
                AttentionShape shape) {
            own.forward(out.rows(0, 250), lse.rows(0, 250), qkv.rows(0, 250), sequences, shape);
        }
    }

    @BeforeAll
    static void open() {
        emulator = Emulator.open();
        backend = emulator.backend();
        own = new OwnAttention(backend.launches());
    }

    @AfterAll
    static void close() {
        if (backend != null) {
            backend.close();
        }
    }

    private static AttentionTrial trial(AttentionShape shape) {
        return new AttentionTrial(backend.launches(), own, shape);
    }

    @Test
    void ourOwnPasses() {
        Emulator.Live before = emulator.live();
        trial(SHAPE).forward("itself", new Library());
        trial(SHAPE).backward("itself", new Library());
        assertEquals(before.allocations(), emulator.live().allocations());
    }

    @Test
    void wrongMasksAreFoundOut() {
        AttentionShape window = new AttentionShape(2, 1, 32, 0.2f, 90);
        Library wrong = new WrongWindow();
        JloraException forward =
                assertThrows(
                        JloraException.class, () -> trial(window).forward("libwrong 1", wrong));
        assertEquals(ExitCode.GPU_FAULT, forward.exitCode());
        assertTrue(forward.getMessage().contains("libwrong 1"), forward.getMessage());
        assertTrue(forward.getMessage().contains("attention: own"), forward.getMessage());
        assertThrows(JloraException.class, () -> trial(window).backward("libwrong 1", wrong));
    }

    @Test
    void rowsLeftUnwrittenAreFoundOut() {
        assertThrows(
                JloraException.class, () -> trial(SHAPE).forward("libwrong 1", new LeavesRows()));
    }

    @Test
    void autoDoesWithoutCudnn() {
        assertTrue(backend.describe().endsWith("attention by own kernels"), backend.describe());
        assertEquals(
                CudaBackend.RESERVED_BYTES - CudnnAttention.WORKSPACE_BYTES,
                backend.reservedBytes());
    }

    @ParameterizedTest
    @EnumSource
    void cudnnThatIsMissingIsAnError(CudaBinding binding) {
        Emulator.Live before = emulator.live();
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () ->
                                new CudaBackend(
                                        emulator.libraries(),
                                        0,
                                        binding,
                                        AttentionEngine.CUDNN,
                                        Path.of("target", "cache")));
        assertEquals(ExitCode.USAGE, e.exitCode());
        assertTrue(e.getMessage().contains("attention is cudnn"), e.getMessage());
        assertTrue(e.getMessage().contains("libcudnn.so.9"), e.getMessage());
        assertEquals(before.allocations(), emulator.live().allocations());
    }
}
