package jlora.trainer.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

class ConfigReferenceTest {
    private static final Path PAGE = Path.of("..", "docs", "config.md");

    @Test
    void committedPageIsTheGeneratedOne() throws IOException {
        if (Boolean.getBoolean("jlora.write-docs")) {
            Files.createDirectories(PAGE.getParent());
            Files.writeString(PAGE, ConfigReference.markdown());
        }
        assertEquals(
                ConfigReference.markdown(),
                Files.exists(PAGE) ? Files.readString(PAGE) : "",
                "docs/config.md has drifted; write it anew with: mvn -pl trainer -am test"
                        + " -Dtest=ConfigReferenceTest -Dsurefire.failIfNoSpecifiedTests=false"
                        + " -Djlora.write-docs=true");
    }

    @Test
    void helpNamesEveryKeyAndKeepsToTheWidth() {
        String help = ConfigReference.help(80);
        for (String key : RunConfig.keyNames()) {
            assertTrue(help.contains("\n  --" + key + "  ("), key);
        }
        help.lines().forEach(line -> assertTrue(line.length() <= 80, line));
        assertTrue(help.contains("--lora_r  (integer ≥ 1, ≤ 65536; default 8)"), help);
    }

    @Test
    void everyKeyIsDocumentedAndNoOtherSpellingIsAmbiguous() {
        Set<String> seen = new HashSet<>(RunConfig.keyNames());
        for (Keys.Info info : RunConfig.keys()) {
            assertTrue(info.key().doc().endsWith("."), info.name());
            assertFalse(
                    info.key().value().isEmpty()
                            && info.key().derived().isEmpty()
                            && !info.isOptional(),
                    info.name() + " needs a default");
        }
        for (Class<? extends Record> section : RunConfig.SECTIONS) {
            for (Keys.Info info : Keys.of(section).all()) {
                for (String other : List.of(info.key().aka())) {
                    assertTrue(seen.add(other), other + " is suggested for two keys");
                }
            }
        }
    }
}
