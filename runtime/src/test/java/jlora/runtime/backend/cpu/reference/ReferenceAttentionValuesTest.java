package jlora.runtime.backend.cpu.reference;

import static jlora.runtime.backend.cpu.reference.Literals.assertValues;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

import java.util.Optional;

/**
 * Attention against PyTorch 2.13's scaled_dot_product_attention in f64: four query heads over two
 * key heads of two columns, four tokens, a window of three, scale 1/2.
 */
final class ReferenceAttentionValuesTest {
    private static final AttentionShape SHAPE = new AttentionShape(4, 2, 2, 0.5f, 3);
    private static final double TOLERANCE = 1e-6;

    private static final double[] QKV = {
        -1.5, 0.25, 1.75, 0.0, 1.5, -0.25, -0.25, 2.0, -0.75, -0.75, 2.0, -1.5, -1.0, -0.5, -1.75,
                1.5,
        1.0, -0.5, -2.0, -1.0, 1.75, -2.0, -0.75, -0.25, -1.75, -1.0, 0.0, 1.25, 1.75, 1.25, -2.0,
                0.5,
        0.75, 1.25, 1.75, -0.25, 0.75, 0.5, -2.0, 0.25, -1.5, -0.25, 0.5, 1.5, 0.0, -1.0, -1.75,
                0.25,
        -1.25, 1.0, -0.25, -1.0, -1.25, -1.5, -1.0, -0.25, -1.75, 0.25, 0.5, 0.25, 1.25, 0.5, 1.0,
                1.0
    };

    private static final double[] OUT = {
        -1.0,
        -0.5,
        -1.0,
        -0.5,
        -1.75,
        1.5,
        -1.75,
        1.5,
        0.078926283,
        0.186589453,
        1.076016214,
        0.821101227,
        -1.752746736,
        1.489013057,
        -1.90004709,
        0.899811641,
        0.010983274,
        -0.304207641,
        -0.128990921,
        -0.234551845,
        -1.824659852,
        0.722034849,
        -1.895201011,
        0.464873601,
        0.993323564,
        0.228460082,
        1.098878554,
        0.386792566,
        -0.479374111,
        0.697372818,
        -0.924596614,
        0.595755149
    };

    private static final double[] D_QKV = {
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        -0.221916755,
        -0.53230831,
        0.017979174,
        0.059736249,
        -4.411095822,
        -3.941594775,
        -3.143705887,
        -2.673398041,
        0.510343499,
        0.127585875,
        0.291982083,
        0.072995521,
        -0.005433115,
        0.007470533,
        -0.04499293,
        0.061865279,
        -0.111814298,
        0.322889182,
        0.896478431,
        0.684661778,
        -0.091482313,
        0.19518872,
        1.568311847,
        1.841650614,
        -0.008953187,
        -0.01401346,
        -0.090833821,
        -0.044970224,
        0.141735465,
        -0.241205642,
        0.049365255,
        -0.081355886,
        0.503805672,
        0.12362663,
        0.607500623,
        0.426152757,
        0.744391088,
        0.90104392,
        1.253529611,
        1.406698812,
        -0.08984707,
        -0.109938922,
        -0.124082277,
        -0.319885168,
        0.206130907,
        -0.728577942,
        0.195414657,
        -0.765186213,
        -0.170074619,
        0.085792499,
        -1.521958228,
        -1.170550783,
        0.758187047,
        0.845362135,
        1.321864428,
        1.425048615
    };

    private final ReferenceBackend backend = new ReferenceBackend();
    private final Literals literals = new Literals();

    @AfterEach
    void free() {
        literals.close();
    }

    @Test
    void followsTorch() {
        Tensor qkv = literals.floats(4, QKV);
        Tensor cuSeqlens = literals.ints(0, 4);
        Optional<Tensor> keyMask = Optional.of(literals.ints(1, 1, 1, 1));
        PackedSequences sequences = new PackedSequences(cuSeqlens, keyMask, 4);
        Tensor out = literals.zeros(F32, 4, 8);
        Tensor lse = literals.zeros(F32, 4, 4);
        backend.kernels().attention().forward(out, lse, qkv, sequences, SHAPE);
        assertValues(out, TOLERANCE, OUT);
        double[] dOut = new double[32];
        for (int i = 0; i < dOut.length; i++) {
            dOut[i] = i / 8.0 - 2;
        }
        Tensor dQkv = literals.zeros(F32, 4, 16);
        backend.kernels()
                .attention()
                .backward(dQkv, literals.floats(4, dOut), out, lse, qkv, sequences, SHAPE);
        assertValues(dQkv, TOLERANCE, D_QKV);
    }

    @Test
    void firstRowSeesItselfAlone() {
        Tensor lse = literals.zeros(F32, 4, 4);
        Tensor out = literals.zeros(F32, 4, 8);
        backend.kernels()
                .attention()
                .forward(
                        out,
                        lse,
                        literals.floats(4, QKV),
                        new PackedSequences(literals.ints(0, 4), Optional.empty(), 4),
                        SHAPE);
        // q·k/2 of row 0: heads 0 and 1 with key head 0, heads 2 and 3 with key head 1.
        assertValues(lse.rows(0, 1), TOLERANCE, 0.46875, -0.65625, 1.6875, -1.75);
    }

    @Test
    void cacheGivesWhatTheWholeSequenceGives() {
        Tensor qkv = literals.floats(4, QKV);
        Tensor cache = literals.zeros(F32, 5, 8);
        Tensor out = literals.zeros(F32, 4, 8);
        int[] ends = {1, 3, 4};
        int done = 0;
        for (int end : ends) {
            backend.kernels()
                    .cachedAttention()
                    .forward(
                            out.rows(done, end - done),
                            cache,
                            qkv.rows(done, end - done),
                            literals.ints(0, end - done),
                            literals.ints(done),
                            SHAPE,
                            5);
            done = end;
        }
        assertValues(out, TOLERANCE, OUT);
    }
}
