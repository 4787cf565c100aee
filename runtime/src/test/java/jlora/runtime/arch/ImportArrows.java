package jlora.runtime.arch;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The import rules: {@code cu <- runtime <- trainer <- bench} between modules, and within {@code
 * runtime} the order of {@link #LAYERS}.
 */
final class ImportArrows {
    /** Second package segments, each may use only those before it. */
    static final List<String> MODULES = List.of("cu", "runtime", "trainer", "bench");

    /** Packages of {@code jlora.runtime}, each may use only itself and those before it. */
    static final List<String> LAYERS =
            List.of(
                    "tensor", "kernel", "backend", "plan", "op", "weight", "nn", "model", "adapter",
                    "io");

    private static final Pattern PACKAGE = Pattern.compile("\\bpackage\\s+([\\w.]+)\\s*;");
    private static final Pattern USE =
            Pattern.compile("(?<![\\w.])jlora(?:\\.[a-z]\\w*)+(?=\\.[A-Z*])");
    private static final Pattern NOT_CODE =
            Pattern.compile(
                    "//[^\n"
                            + "]*|/\\*.*?\\*/|\"\"\".*?\"\"\"|\"(?:\\\\.|[^\"\\\\\n"
                            + "])*\"|'(?:\\\\.|[^'\\\\])+'",
                    Pattern.DOTALL);

    private ImportArrows() {}

    /** What is wrong with one file, as sentences; empty when nothing is. */
    static List<String> violations(String file, SourceTree.Part part, String source) {
        String code = NOT_CODE.matcher(source).replaceAll(" ");
        Matcher declaration = PACKAGE.matcher(code);
        if (!declaration.find()) {
            return List.of(file + ": no package declaration");
        }
        String from = declaration.group(1);
        List<String> found = new ArrayList<>();
        for (String to : uses(code.substring(declaration.end()))) {
            String why = forbidden(from, to, part);
            if (why != null) {
                found.add(file + ": " + from + " uses " + to + ", but " + why);
            }
        }
        return found;
    }

    private static Set<String> uses(String code) {
        Set<String> packages = new TreeSet<>();
        USE.matcher(code).results().forEach(match -> packages.add(match.group()));
        return packages;
    }

    private static String forbidden(String from, String to, SourceTree.Part part) {
        int fromModule = MODULES.indexOf(segment(from, 1));
        int toModule = MODULES.indexOf(segment(to, 1));
        if (fromModule < 0 || toModule < 0) {
            return "modules are " + MODULES;
        }
        if (toModule > fromModule) {
            return "modules may use only those before them in " + MODULES;
        }
        boolean bothInRuntime = fromModule == toModule && segment(from, 1).equals("runtime");
        // Tests of a lower layer may set their scene with the layers above it.
        return bothInRuntime && part == SourceTree.Part.MAIN ? forbiddenLayer(from, to) : null;
    }

    private static String forbiddenLayer(String from, String to) {
        String fromName = segment(from, 2);
        String toName = segment(to, 2);
        if (toName.isEmpty()) {
            return null; // the root package holds only the exception and exit codes: for all
        }
        if (fromName.isEmpty()) {
            return "the root package uses no other package";
        }
        int fromLayer = LAYERS.indexOf(fromName);
        int toLayer = LAYERS.indexOf(toName);
        if (fromLayer < 0 || toLayer < 0) {
            return "layers are " + LAYERS;
        }
        if (toLayer > fromLayer) {
            return "layers may use only those before them in " + LAYERS;
        }
        String fromBackend = segment(from, 3);
        String toBackend = segment(to, 3);
        boolean betweenBackends =
                fromName.equals("backend")
                        && toName.equals("backend")
                        && !fromBackend.isEmpty()
                        && !toBackend.isEmpty()
                        && !fromBackend.equals(toBackend);
        return betweenBackends ? "one backend may not use another" : null;
    }

    private static String segment(String packageName, int index) {
        String[] segments = packageName.split("\\.");
        return index < segments.length ? segments[index] : "";
    }
}
