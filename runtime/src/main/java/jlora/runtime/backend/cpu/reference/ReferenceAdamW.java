package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/** {@link AdamWKernel} by definition. */
public final class ReferenceAdamW implements AdamWKernel {
    @Override
    public void update(
            Tensor master,
            Tensor gradient,
            Tensor m,
            Tensor v,
            Tensor schedule,
            Tensor norm,
            Settings settings,
            List<PublishKernel.Copy> copies) {
        double rate = Elements.get(schedule, 0, 0);
        double correction1 = Elements.get(schedule, 0, 1);
        double correction2 = Elements.get(schedule, 0, 2);
        double beta1 = settings.beta1();
        double beta2 = settings.beta2();
        for (long i = 0; i < master.cols(); i++) {
            double g = Elements.get(gradient, 0, i) * Elements.get(norm, 0, 1);
            double decay = i < settings.decayed() ? rate * settings.weightDecay() : 0;
            double p = Elements.get(master, 0, i) * (1 - decay);
            double first = beta1 * Elements.get(m, 0, i) + (1 - beta1) * g;
            double second = beta2 * Elements.get(v, 0, i) + (1 - beta2) * g * g;
            double denominator = Math.sqrt(second / correction2) + settings.eps();
            Elements.set(m, 0, i, first);
            Elements.set(v, 0, i, second);
            Elements.set(master, 0, i, p - rate / correction1 * first / denominator);
            Elements.set(gradient, 0, i, 0);
        }
        new ReferencePublish().publish(copies);
    }
}
