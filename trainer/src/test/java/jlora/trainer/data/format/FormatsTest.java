package jlora.trainer.data.format;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

class FormatsTest {
    @Test
    void everyFormatIsRegisteredOnceUnderItsOwnName() throws Exception {
        Path classes =
                Path.of(Formats.class.getProtectionDomain().getCodeSource().getLocation().toURI())
                        .resolve("jlora/trainer/data/format");
        List<String> found;
        try (Stream<Path> files = Files.list(classes)) {
            found =
                    files.map(path -> path.getFileName().toString())
                            .filter(name -> name.endsWith("Format.class"))
                            .filter(name -> !name.equals("DatasetFormat.class"))
                            .map(name -> name.replace(".class", ""))
                            .sorted()
                            .toList();
        }
        assertEquals(
                found,
                Formats.all().stream().map(f -> f.getClass().getSimpleName()).sorted().toList());
        for (DatasetFormat format : Formats.all()) {
            assertEquals(format, Formats.named(format.name()));
        }
    }
}
