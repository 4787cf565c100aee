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
            Tensor learningRate,
            Tensor norm,
            Tensor updates,
            Settings settings,
            List<PublishKernel.Copy> copies) {
        if (!Double.isFinite(Elements.get(norm, 0, 0))) {
            for (long i = 0; i < gradient.cols(); i++) {
                Elements.set(gradient, 0, i, 0);
            }
            return;
        }
        double rate = Elements.get(learningRate, 0, 0);
        double beta1 = settings.beta1();
        double beta2 = settings.beta2();
        double correction1 = 1 - Math.pow(beta1, Elements.get(updates, 0, 0));
        double correction2 = 1 - Math.pow(beta2, Elements.get(updates, 0, 0));
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
