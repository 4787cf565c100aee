package jlora.runtime.arch;

import java.util.List;
import java.util.Set;

/** One stem per op: every contract in {@code kernel/} has a class of that stem in each backend. */
final class OpStems {
    private static final String CONTRACT = "Kernel";

    private OpStems() {}

    /** The stems of the contracts among these file names. */
    static List<String> of(Set<String> kernelFiles) {
        return kernelFiles.stream()
                .filter(file -> file.endsWith(CONTRACT + ".java"))
                .map(file -> file.substring(0, file.length() - (CONTRACT + ".java").length()))
                .sorted()
                .toList();
    }

    /** The files that a backend lacks, given the prefix of its classes and its file names. */
    static List<String> missing(List<String> stems, String prefix, Set<String> backendFiles) {
        return stems.stream()
                .map(stem -> prefix + stem + ".java")
                .filter(file -> !backendFiles.contains(file))
                .toList();
    }
}
