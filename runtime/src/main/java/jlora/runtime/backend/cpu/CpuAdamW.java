package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;

/**
 * {@link AdamWKernel} in one pass over memory; scalars are formed in f64 and rounded once, as torch
 * does.
 */
final class CpuAdamW implements AdamWKernel {
    private static final int BLOCK = 1 << 14;
    private static final VectorSpecies<Float> FLOATS = VectorMath.FLOATS;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    /** The factors of one step, as f32. */
    private record Factors(
            float clip,
            float keep,
            float moment,
            float keepSquare,
            float square,
            float root,
            float eps,
            float step) {}

    private final CpuPool pool;
    private final PublishKernel publish;

    CpuAdamW(CpuPool pool) {
        this.pool = pool;
        this.publish = new CpuPublish(pool);
    }

    @Override
    public void update(
            Tensor master,
            Tensor gradient,
            Tensor m,
            Tensor v,
            Tensor learningRate,
            Tensor norm,
            Tensor updates,
            Settings settings,
            List<PublishKernel.Copy> copies) {
        if (!Float.isFinite(Rows.f32(norm, 0, 0))) {
            Rows.clear(gradient, 0);
            return;
        }
        double rate = Rows.f32(learningRate, 0, 0);
        double applied = Rows.f32(updates, 0, 0);
        double correction1 = 1 - Math.pow(settings.beta1(), applied);
        double correction2 = 1 - Math.pow(settings.beta2(), applied);
        Factors plain =
                new Factors(
                        Rows.f32(norm, 0, 1),
                        1f,
                        (float) (1 - settings.beta1()),
                        (float) settings.beta2(),
                        (float) (1 - settings.beta2()),
                        (float) Math.sqrt(correction2),
                        (float) settings.eps(),
                        (float) (-rate / correction1));
        Factors decaying =
                new Factors(
                        plain.clip,
                        (float) (1 - rate * settings.weightDecay()),
                        plain.moment,
                        plain.keepSquare,
                        plain.square,
                        plain.root,
                        plain.eps,
                        plain.step);
        long total = master.cols();
        long decayed = Math.min(total, settings.decayed());
        pool.run(
                total,
                BLOCK,
                (part, from, to) -> {
                    long start = from;
                    while (start < to) {
                        boolean decay = start < decayed;
                        long end = Math.min(start + BLOCK, decay ? Math.min(to, decayed) : to);
                        int count = (int) (end - start);
                        update(
                                slice(master, start, count),
                                slice(gradient, start, count),
                                slice(m, start, count),
                                slice(v, start, count),
                                count,
                                decay ? decaying : plain);
                        start = end;
                    }
                });
        publish.publish(copies);
    }

    private static MemorySegment slice(Tensor tensor, long start, int count) {
        return tensor.segment().asSlice(tensor.byteOffset(0) + 4 * start, 4L * count);
    }

    private static void update(
            MemorySegment p,
            MemorySegment g,
            MemorySegment m,
            MemorySegment v,
            int count,
            Factors f) {
        FloatVector keepSquare = FloatVector.broadcast(FLOATS, f.keepSquare);
        FloatVector moment = FloatVector.broadcast(FLOATS, f.moment);
        FloatVector step = FloatVector.broadcast(FLOATS, f.step);
        FloatVector zero = FloatVector.zero(FLOATS);
        int i = 0;
        for (; i <= count - FLOATS.length(); i += FLOATS.length()) {
            long at = 4L * i;
            FloatVector gradient = FloatVector.fromMemorySegment(FLOATS, g, at, ORDER).mul(f.clip);
            FloatVector first = FloatVector.fromMemorySegment(FLOATS, m, at, ORDER);
            first = gradient.sub(first).fma(moment, first);
            FloatVector second =
                    FloatVector.fromMemorySegment(FLOATS, v, at, ORDER).mul(keepSquare);
            second = gradient.mul(f.square).fma(gradient, second);
            FloatVector denominator = second.sqrt().div(f.root).add(f.eps);
            FloatVector value = FloatVector.fromMemorySegment(FLOATS, p, at, ORDER).mul(f.keep);
            value = first.mul(step).div(denominator).add(value);
            value.intoMemorySegment(p, at, ORDER);
            first.intoMemorySegment(m, at, ORDER);
            second.intoMemorySegment(v, at, ORDER);
            zero.intoMemorySegment(g, at, ORDER);
        }
        for (; i < count; i++) {
            updateOne(p, g, m, v, 4L * i, f);
        }
    }

    /**
     * The same arithmetic for the last elements, so that a parameter's value does not depend on
     * where it lies.
     */
    private static void updateOne(
            MemorySegment p,
            MemorySegment g,
            MemorySegment m,
            MemorySegment v,
            long at,
            Factors f) {
        ValueLayout.OfFloat layout = ValueLayout.JAVA_FLOAT_UNALIGNED;
        float gradient = g.get(layout, at) * f.clip;
        float first = m.get(layout, at);
        first = Math.fma(gradient - first, f.moment, first);
        float second = Math.fma(gradient * f.square, gradient, v.get(layout, at) * f.keepSquare);
        float denominator = (float) Math.sqrt(second) / f.root + f.eps;
        float value = first * f.step / denominator + p.get(layout, at) * f.keep;
        p.set(layout, at, value);
        m.set(layout, at, first);
        v.set(layout, at, second);
        g.set(layout, at, 0f);
    }
}
