package jlora.runtime.weight;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.Bf16;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;

/** Moves f32 values between host arrays and tensors of any float type. */
public final class HostValues {
    private HostValues() {}

    /** to = scale · values, rounded to the tensor's type. */
    public static void write(Backend backend, Tensor to, float[] values, float scale) {
        if (values.length != to.elements()) {
            throw new IllegalArgumentException(values.length + " values for " + to.describe());
        }
        if (to.dtype() == DType.F32) {
            float[] scaled = values.clone();
            for (int i = 0; i < scaled.length; i++) {
                scaled[i] *= scale;
            }
            backend.upload(to, MemorySegment.ofArray(scaled));
            return;
        }
        short[] rounded = new short[values.length];
        for (int i = 0; i < values.length; i++) {
            rounded[i] = Bf16.fromFloat(scale * values[i]);
        }
        backend.upload(to, MemorySegment.ofArray(rounded));
    }

    /** A tensor's values, widened to f32. */
    public static float[] read(Backend backend, Tensor from) {
        float[] values = new float[Math.toIntExact(from.elements())];
        if (from.dtype() == DType.F32) {
            backend.download(MemorySegment.ofArray(values), from);
            return values;
        }
        short[] bits = new short[values.length];
        backend.download(MemorySegment.ofArray(bits), from);
        for (int i = 0; i < bits.length; i++) {
            values[i] = Bf16.toFloat(bits[i]);
        }
        return values;
    }
}
