package jlora.runtime.backend.cuda;

import jlora.runtime.cases.Conformance;

import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;

import java.nio.file.Path;

/**
 * All op cases on one flavour of the emulator, as a program: the address sanitizer ends the process
 * at the first bad access, and its report follows the name of the case.
 */
public final class EmulatedOpCases {
    private int passed;
    private int failed;

    private EmulatedOpCases() {}

    /**
     * @param args the flavour's folder
     */
    public static void main(String[] args) {
        Emulator emulator = new Emulator(Path.of(args[0]));
        EmulatedOpCases cases = new EmulatedOpCases();
        try (CudaBackend backend = emulator.backend()) {
            Conformance.of(backend).forEach(container -> cases.run(container, ""));
        }
        System.out.println(cases.passed + " passed, " + cases.failed + " failed");
        System.exit(cases.failed == 0 ? 0 : 1);
    }

    private void run(DynamicNode node, String where) {
        String name = where + "/" + node.getDisplayName();
        if (node instanceof DynamicContainer container) {
            container.getChildren().forEach(child -> run(child, name));
            return;
        }
        System.out.println(name);
        try {
            ((DynamicTest) node).getExecutable().execute();
            passed++;
        } catch (Throwable t) {
            failed++;
            System.out.println("FAILED: " + t);
        }
    }
}
