package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.config.Offload;
import jlora.trainer.config.RunConfig;

import java.util.Locale;
import java.util.Optional;

/**
 * What {@code offload: host} costs: a micro-batch copies every layer to the device twice, and that
 * can go on beside its products. How long either takes is reckoned from what the device is known to
 * reach.
 *
 * @param copySeconds of one micro-batch
 * @param computeSeconds of one micro-batch
 * @param batch sequences of a micro-batch, or bins of packed ones
 */
record OffloadPlan(double copySeconds, double computeSeconds, int batch) {
    /** Of the data sheet's peak, what products of large layers reach: 790 of 989 on an H200. */
    private static final double REACHED = 0.8;

    /** Empty without offload, and where nothing is known of the device. */
    static Optional<OffloadPlan> of(RunConfig config, RunPlan plan, Device device) {
        if (plan.hostItems().isEmpty()
                || device.bf16Tflops() == 0
                || device.hostBytesPerSecond() == 0) {
            return Optional.empty();
        }
        return Optional.of(
                new OffloadPlan(
                        plan.microBatch().fetchedBytes() / device.hostBytesPerSecond(),
                        plan.microBatch().flops() / (REACHED * 1e12 * device.bf16Tflops()),
                        config.train().perDeviceTrainBatchSize()));
    }

    /** True when copying goes on in the shadow of the products. */
    boolean hidden() {
        return copySeconds <= computeSeconds;
    }

    /**
     * The least sequences of a micro-batch, as long as these, that copying hides behind. Products
     * grow with the tokens, copies do not.
     */
    int hidingBatch() {
        return (int) Math.ceil(batch * copySeconds / computeSeconds);
    }

    /** For the plan's table. */
    String text() {
        return String.format(
                Locale.ROOT,
                "%.2f s of copies, %.2f s of products; hidden from batch %d on",
                copySeconds,
                computeSeconds,
                hidingBatch());
    }

    /** Refuses the offload of a run on the CPU, whose memory is the host's; exit code 2. */
    static void requireGpu(RunConfig config, boolean gpu) {
        if (config.base().offload() == Offload.HOST && !gpu) {
            throw JloraException.usage(
                    place(config)
                            + "offload: host keeps weights out of the memory of a GPU, but this run"
                            + " is on the CPU, whose memory is the host's; remove it or set"
                            + " device: cuda.");
        }
    }

    private static String place(RunConfig config) {
        return config.place("offload").map(p -> p + ": ").orElse("");
    }

    /**
     * Refuses what makes no sense: the above, and copies that the products cannot hide, unless the
     * configuration says to go on; both exit code 2.
     */
    static void require(RunConfig config, RunPlan plan, Device device) {
        requireGpu(config, device.gpu());
        Optional<OffloadPlan> offload = of(config, plan, device);
        if (offload.filter(o -> !o.hidden()).isPresent() && !config.base().allowSlowOffload()) {
            throw JloraException.usage(
                    place(config)
                            + String.format(
                                    Locale.ROOT,
                                    "offload: host would wait for copies, %.2f s for each"
                                            + " micro-batch of %.2f s; set"
                                            + " per_device_train_batch_size to %d or more, or"
                                            + " allow_slow_offload: true to go at the speed of the"
                                            + " copies.",
                                    offload.get().copySeconds,
                                    offload.get().computeSeconds,
                                    offload.get().hidingBatch()));
        }
    }

    /** Refuses a plan for whose weights this machine has too little memory, with exit code 4. */
    static void requireHostMemory(RunPlan plan, long available) {
        long needed = plan.hostBytes();
        if (needed > available) {
            throw new JloraException(
                    ExitCode.OUT_OF_MEMORY,
                    "offload: host needs "
                            + Bytes.text(needed)
                            + " of page-locked memory for the layers, and this machine has "
                            + Bytes.text(available)
                            + " left; take a machine with more memory, or load_in_4bit: true.");
        }
    }
}
