package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.PublishKernel;

import java.util.List;

/** {@link PublishKernel} by definition. */
public final class ReferencePublish implements PublishKernel {
    @Override
    public void publish(List<Copy> copies) {
        for (Copy copy : copies) {
            for (long r = 0; r < copy.from().rows(); r++) {
                for (long c = 0; c < copy.from().cols(); c++) {
                    Elements.set(copy.to(), r, c, copy.scale() * Elements.get(copy.from(), r, c));
                }
            }
        }
    }
}
