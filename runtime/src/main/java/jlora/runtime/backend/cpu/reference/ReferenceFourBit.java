package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.FourBitKernel;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.FourBitTables;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/**
 * {@link FourBitKernel} by definition. Codes depend on how a quotient is rounded, so this is f32
 * where bitsandbytes is; Java rounds each operation by itself.
 */
public final class ReferenceFourBit implements FourBitKernel {
    @Override
    public void quantize(FourBitMatrix to, Tensor absmax, long firstBlock, Tensor from) {
        long elements = from.elements();
        for (long block = 0; block < FourBitMatrix.blocks(elements); block++) {
            long begin = block * FourBitMatrix.BLOCK;
            long end = Math.min(elements, begin + FourBitMatrix.BLOCK);
            float scale = 0;
            for (long i = begin; i < end; i++) {
                scale = Math.max(scale, Math.abs(at(from, i)));
            }
            Elements.set(absmax, 0, firstBlock + block, scale);
            float inverse = FourBitTables.inverse(scale);
            long firstByte = (firstBlock * FourBitMatrix.BLOCK + begin) / 2;
            for (long i = begin; i < end; i += 2) {
                int high = FourBitTables.code(to.type(), at(from, i) * inverse);
                float next = i + 1 < end ? at(from, i + 1) : 0;
                int low = FourBitTables.code(to.type(), next * inverse);
                Elements.setInt(to.codes(), 0, firstByte + (i - begin) / 2, high << 4 | low);
            }
        }
    }

    @Override
    public void quantizeScales(FourBitMatrix to, Tensor absmax) {
        FourBitMatrix.Nested nested = to.nested().orElseThrow();
        long blocks = to.blocks();
        double sum = 0;
        for (long block = 0; block < blocks; block++) {
            sum += at(absmax, block);
        }
        float offset = (float) (sum / blocks);
        Elements.set(nested.offset(), 0, 0, offset);
        for (long begin = 0; begin < blocks; begin += FourBitMatrix.SCALE_BLOCK) {
            long end = Math.min(blocks, begin + FourBitMatrix.SCALE_BLOCK);
            float scale = 0;
            for (long block = begin; block < end; block++) {
                scale = Math.max(scale, Math.abs(at(absmax, block) - offset));
            }
            Elements.set(nested.scales(), 0, begin / FourBitMatrix.SCALE_BLOCK, scale);
            float inverse = FourBitTables.inverse(scale);
            for (long block = begin; block < end; block++) {
                int code = FourBitTables.scaleCode((at(absmax, block) - offset) * inverse);
                Elements.setInt(to.scales(), 0, block, code);
            }
        }
    }

    @Override
    public void dequantize(Tensor to, List<FourBitMatrix> from) {
        FourBitKernel.requireFit(to, from);
        long row = 0;
        for (FourBitMatrix matrix : from) {
            float[] values = FourBitTables.values(matrix.type());
            float[] scaleValues = FourBitTables.scaleValues();
            for (long r = 0; r < matrix.rows(); r++, row++) {
                for (long c = 0; c < matrix.cols(); c++) {
                    long i = r * matrix.cols() + c;
                    int codes = Elements.getInt(matrix.codes(), 0, i / 2);
                    float value = values[i % 2 == 0 ? codes >> 4 : codes & 15];
                    float scale = scale(matrix, scaleValues, i / FourBitMatrix.BLOCK);
                    Elements.set(to, row, c, value * scale);
                }
            }
        }
    }

    private static float scale(FourBitMatrix matrix, float[] values, long block) {
        if (matrix.nested().isEmpty()) {
            return at(matrix.scales(), block);
        }
        FourBitMatrix.Nested nested = matrix.nested().get();
        float value = values[Elements.getInt(matrix.scales(), 0, block)];
        return value * at(nested.scales(), block / FourBitMatrix.SCALE_BLOCK)
                + at(nested.offset(), 0);
    }

    /** An element of a dense tensor, in the order of rows. */
    private static float at(Tensor tensor, long i) {
        return (float) Elements.get(tensor, i / tensor.cols(), i % tensor.cols());
    }
}
