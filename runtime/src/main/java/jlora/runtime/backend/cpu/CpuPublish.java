package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.kernel.PublishKernel;

import java.util.List;

/** {@link PublishKernel} by stretches of rows. */
final class CpuPublish implements PublishKernel {
    private final CpuPool pool;

    CpuPublish(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void publish(List<Copy> copies) {
        for (Copy copy : copies) {
            Chunks.run(
                    pool,
                    copy.from().rows(),
                    copy.from().cols(),
                    1,
                    (scratch, row, col, count) -> {
                        Rows.load(scratch[0], 0, copy.from(), row, col, count);
                        scale(scratch[0], copy.scale(), count);
                        Rows.store(copy.to(), row, col, scratch[0], 0, count);
                    });
        }
    }

    private static void scale(float[] values, float scale, int count) {
        for (int i = 0; i < count; i += VectorMath.LANES) {
            FloatVector.fromArray(VectorMath.FLOATS, values, i).mul(scale).intoArray(values, i);
        }
    }
}
