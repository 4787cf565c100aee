package jlora.cu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.StructLayout;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Compares constants and struct layouts written down in Java with the C headers they come from: a
 * small C program that prints {@code sizeof}, {@code offsetof} and constants is compiled and run.
 * Skips, saying why, where the header or a C compiler is missing.
 *
 * <pre>
 * HeaderCheck.of("nccl.h")
 *     .constants(NcclSys.class, "nccl")
 *     .size("ncclUniqueId", 128)
 *     .layout("nvmlEventData_t", NvmlSys.EVENT_DATA)
 *     .check();
 * </pre>
 */
public final class HeaderCheck {
    private static final String LIBRARY_PATH = "JLORA_LIBRARY_PATH";

    private final String header;
    private final Path folder;
    private final Map<String, Long> expected = new LinkedHashMap<>();

    private HeaderCheck(String header, Path folder) {
        this.header = header;
        this.folder = folder;
    }

    /** Looks for the header in {@link #includeFolders}; skips the test where it is in none. */
    public static HeaderCheck of(String header) {
        for (Path folder : includeFolders()) {
            if (Files.isRegularFile(folder.resolve(header))) {
                return new HeaderCheck(header, folder);
            }
        }
        return abort(header + " is in none of " + includeFolders());
    }

    /**
     * {@code include} beside each folder of JLORA_LIBRARY_PATH, the toolkit of the nvcc on the
     * PATH, and the usual place of a toolkit.
     */
    public static List<Path> includeFolders() {
        Set<Path> folders = new LinkedHashSet<>();
        for (Path library : folders(LIBRARY_PATH)) {
            folders.add(library.resolveSibling("include"));
            folders.add(library.resolve("include"));
        }
        for (Path bin : folders("PATH")) {
            if (Files.isExecutable(bin.resolve("nvcc"))) {
                folders.add(bin.resolveSibling("include"));
            }
        }
        folders.add(Path.of("/usr/local/cuda/include"));
        folders.add(Path.of("/usr/include"));
        return folders.stream().filter(Files::isDirectory).toList();
    }

    /** Expects a constant, macro or enum value of the header. */
    public HeaderCheck constant(String name, long value) {
        return expect("(long long) (" + name + ")", value);
    }

    /** Expects each static final int or long whose name begins so to be that C constant. */
    public HeaderCheck constants(Class<?> holder, String prefix) {
        int before = expected.size();
        for (Field field : holder.getDeclaredFields()) {
            boolean integer = field.getType() == int.class || field.getType() == long.class;
            if (integer
                    && Modifier.isStatic(field.getModifiers())
                    && Modifier.isFinal(field.getModifiers())
                    && field.getName().startsWith(prefix)) {
                try {
                    field.setAccessible(true);
                    constant(field.getName(), ((Number) field.get(null)).longValue());
                } catch (IllegalAccessException e) {
                    throw new AssertionError(e);
                }
            }
        }
        assertTrue(expected.size() > before, holder + " has no constant " + prefix + "...");
        return this;
    }

    /** Expects {@code sizeof(type)} in bytes. */
    public HeaderCheck size(String type, long bytes) {
        return expect("(long long) sizeof(" + type + ")", bytes);
    }

    /** Expects {@code offsetof(type, field)} in bytes. */
    public HeaderCheck offset(String type, String field, long bytes) {
        return expect("(long long) offsetof(" + type + ", " + field + ")", bytes);
    }

    /** Expects the size of the layout, and each named member at its offset. */
    public HeaderCheck layout(String type, StructLayout layout) {
        size(type, layout.byteSize());
        for (MemoryLayout member : layout.memberLayouts()) {
            member.name()
                    .ifPresent(
                            name ->
                                    offset(
                                            type,
                                            name,
                                            layout.byteOffset(PathElement.groupElement(name))));
        }
        return this;
    }

    private HeaderCheck expect(String expression, long value) {
        expected.put(expression, value);
        return this;
    }

    /** Compiles, runs, and compares everything expected so far. */
    public void check() throws IOException, InterruptedException {
        assertTrue(!expected.isEmpty(), "nothing expected of " + header);
        List<Long> actual = run(program()).lines().map(String::strip).map(Long::valueOf).toList();
        assertEquals(expected.size(), actual.size(), "lines printed for " + header);
        Map<String, String> wrong = new TreeMap<>();
        int line = 0;
        for (Map.Entry<String, Long> entry : expected.entrySet()) {
            long value = actual.get(line++);
            if (value != entry.getValue()) {
                wrong.put(entry.getKey(), entry.getValue() + ", the header says " + value);
            }
        }
        assertTrue(wrong.isEmpty(), folder.resolve(header) + " disagrees: " + wrong);
        System.out.println(expected.size() + " values agree with " + folder.resolve(header));
    }

    private String program() {
        StringBuilder program = new StringBuilder("#include <stddef.h>\n#include <stdio.h>\n");
        program.append("#include \"").append(header).append("\"\n\nint main(void) {\n");
        for (String expression : expected.keySet()) {
            program.append("    printf(\"%lld\\n\", ").append(expression).append(");\n");
        }
        return program.append("    return 0;\n}\n").toString();
    }

    private String run(String program) throws IOException, InterruptedException {
        Path work = Files.createTempDirectory("jlora-header-check");
        try {
            Path source = Files.writeString(work.resolve("check.c"), program);
            Path binary = work.resolve("check");
            List<String> compile =
                    new ArrayList<>(List.of(compiler(), "-w", "-o", binary.toString()));
            // The header's own folder first: another version of it may lie in a later one.
            compile.add("-I" + folder);
            includeFolders().stream().map(other -> "-I" + other).forEach(compile::add);
            compile.add(source.toString());
            output(compile);
            return output(List.of(binary.toString()));
        } finally {
            try (Stream<Path> files = Files.list(work)) {
                for (Path file : files.toList()) {
                    Files.delete(file);
                }
            }
            Files.delete(work);
        }
    }

    /** Compiles C into a shared library; skips without a compiler. */
    public static Path sharedLibrary(Path file, String source)
            throws IOException, InterruptedException {
        Path code = Files.writeString(file.resolveSibling(file.getFileName() + ".c"), source);
        output(List.of(compiler(), "-shared", "-fPIC", "-o", file.toString(), code.toString()));
        return file;
    }

    private static String compiler() {
        for (String name : List.of("gcc", "cc", "clang")) {
            for (Path bin : folders("PATH")) {
                if (Files.isExecutable(bin.resolve(name))) {
                    return bin.resolve(name).toString();
                }
            }
        }
        return abort("no C compiler (gcc, cc, clang) on the PATH");
    }

    private static String output(List<String> command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(1, TimeUnit.MINUTES), () -> command + " does not end");
        assertEquals(0, process.exitValue(), () -> String.join(" ", command) + "\n" + output);
        return output;
    }

    private static List<Path> folders(String variable) {
        String value = System.getenv(variable);
        if (value == null) {
            return List.of();
        }
        return Stream.of(value.split(File.pathSeparator))
                .filter(part -> !part.isEmpty())
                .map(Path::of)
                .toList();
    }
}
