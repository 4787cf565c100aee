package jlora.cu.cudnn;

import jlora.cu.CudaLibraries;
import jlora.cu.cudnn.AbsentDevice.Model;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Supplier;

/**
 * Makes attention plans for devices that are not there, and prints one line for each: run by {@link
 * SdpaPlansTest} in a process of its own, because cuDNN has to find a driver library there that no
 * other test may see.
 */
final class SdpaPlanProbe {
    static final long NO_LIMIT = Long.MAX_VALUE;

    /** Of memory that nothing reads. */
    private static final long ADDRESS = 1 << 20;

    /** As many columns as the borders of a rank add to each row. */
    static final int PAD = 64;

    /**
     * One thing to plan.
     *
     * @param limit of the workspace, backward alone
     */
    record Case(Model model, SdpaShape shape, boolean backward, long limit) {
        String name() {
            return model.name() + " " + (backward ? "backward" : "forward") + " " + shape;
        }
    }

    private SdpaPlanProbe() {}

    static SdpaShape shape(
            int sequences,
            int longest,
            int heads,
            int kvHeads,
            int headDim,
            boolean causal,
            int window) {
        return new SdpaShape(
                4096,
                sequences,
                longest,
                heads,
                kvHeads,
                headDim,
                (heads + 2L * kvHeads) * headDim + PAD,
                (long) heads * headDim + PAD,
                0.125f,
                causal,
                window);
    }

    /** {@code name|passes|workspace bytes|hash of the plan}, or {@code name|exception: message}. */
    static String plan(Cudnn cudnn, Case planned) {
        return planned.name() + "|" + attempt(() -> outcome(cudnn, planned));
    }

    private static String attempt(Supplier<String> body) {
        try {
            return body.get();
        } catch (RuntimeException e) {
            return e.getClass().getSimpleName() + ": " + e.getMessage().lines().findFirst().get();
        }
    }

    private static String outcome(Cudnn cudnn, Case planned) {
        SdpaShape shape = planned.shape();
        SdpaSequences sequences = SdpaSequences.at(ADDRESS, shape.sequences());
        try (AbsentDevice device = AbsentDevice.of(cudnn, planned.model())) {
            if (!planned.backward()) {
                try (SdpaForward forward = SdpaForward.build(device, shape)) {
                    refused(
                            "q at address",
                            () ->
                                    forward.execute(
                                            ADDRESS + Short.BYTES,
                                            ADDRESS,
                                            ADDRESS,
                                            sequences,
                                            ADDRESS));
                    rehearse(() -> forward.execute(ADDRESS, ADDRESS, ADDRESS, sequences, ADDRESS));
                    return line(1, forward.workspaceBytes(), forward.description());
                }
            }
            try (SdpaBackward backward =
                    SdpaBackward.build(
                            device,
                            shape,
                            shape.outStride() + PAD,
                            shape.qkvStride() + PAD,
                            planned.limit())) {
                rehearse(
                        () ->
                                backward.execute(
                                        ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, sequences,
                                        ADDRESS));
                return line(backward.passes(), backward.workspaceBytes(), backward.description());
            }
        }
    }

    /** An execution up to the point where cuDNN has taken the address of every tensor. */
    private static void rehearse(Runnable execution) {
        refused("planned for a device that is not there", execution);
    }

    private static void refused(String reason, Runnable execution) {
        try {
            execution.run();
        } catch (IllegalStateException | IllegalArgumentException expected) {
            if (expected.getMessage().contains(reason)) {
                return;
            }
            throw expected;
        }
        throw new AssertionError("executed, in spite of: " + reason);
    }

    private static String line(int passes, long workspaceBytes, String description) {
        // Launch parameters before they are filled in: what was in that memory.
        String lasting = description.replaceAll("\"rawData\":\"[^\"]*\"", "");
        return passes + "|" + workspaceBytes + "|" + hash(lasting);
    }

    private static String hash(String text) {
        try {
            byte[] digest =
                    MessageDigest.getInstance("SHA-256")
                            .digest(text.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(digest);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    public static void main(String[] arguments) {
        Cudnn cudnn = Cudnn.open(CudaLibraries.find().cudnn());
        System.out.println("cuDNN|" + cudnn.version());
        List<Case> cases = SdpaPlansTest.CASES;
        int first = Integer.parseInt(arguments[0]);
        int step = Integer.parseInt(arguments[1]);
        for (int i = first; i < cases.size(); i += step) {
            System.out.println(i + "|" + plan(cudnn, cases.get(i)));
        }
    }
}
