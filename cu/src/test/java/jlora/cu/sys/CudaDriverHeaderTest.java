package jlora.cu.sys;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import jlora.cu.HeaderCheck;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** What is written down of the driver's interface, against {@code cuda.h} where it is installed. */
class CudaDriverHeaderTest {
    @Test
    void constantsAndStructs() throws IOException, InterruptedException, IllegalAccessException {
        HeaderCheck check = HeaderCheck.of("cuda.h");
        for (Field field : CudaDriverConstants.class.getDeclaredFields()) {
            check.constant(cName(field.getName()), field.getInt(null));
        }
        check.layout("CUDA_MEMCPY2D", CudaMemcpy2D.LAYOUT).size("CUuuid", 16).check();
    }

    private static String cName(String name) {
        if (name.equals("SUCCESS")) {
            return "CUDA_SUCCESS";
        }
        if (name.startsWith("ATTRIBUTE_")) {
            return "CU_DEVICE_" + name;
        }
        if (name.startsWith("FUNC_")) {
            return "CU_FUNC_ATTRIBUTE_" + name.substring("FUNC_".length());
        }
        boolean flag =
                name.startsWith("STREAM_")
                        || name.startsWith("EVENT_")
                        || name.startsWith("MEMORYTYPE_");
        return (flag ? "CU_" : "CUDA_ERROR_") + name;
    }

    /** A function by a wrong name would be found missing on a GPU alone. */
    @Test
    void functionsAreDeclared() throws IOException {
        Path header =
                HeaderCheck.includeFolders().stream()
                        .map(folder -> folder.resolve("cuda.h"))
                        .filter(Files::isRegularFile)
                        .findFirst()
                        .orElseGet(() -> abort("cuda.h is not installed"));
        List<String> names = new ArrayList<>();
        new PanamaCudaDriver(
                name -> {
                    names.add(name);
                    return Optional.of(MemorySegment.ofAddress(1));
                });
        assertTrue(names.size() > 50, names::toString);
        String text = Files.readString(header);
        List<String> missing =
                names.stream()
                        .filter(name -> !Pattern.compile("\\b" + name + "\\b").matcher(text).find())
                        .toList();
        assertTrue(missing.isEmpty(), () -> missing + " are not in " + header);
    }
}
