package jlora.runtime.backend;

import java.nio.file.Path;
import java.util.Map;

/** Where jlora keeps what it can make again: unpacked libraries, choices of algorithms. */
public final class UserCache {
    private UserCache() {}

    /** {@code JLORA_CACHE_DIR}, else {@code jlora} in XDG_CACHE_HOME, else in ~/.cache. */
    public static Path folder() {
        return folder(System.getenv());
    }

    static Path folder(Map<String, String> environment) {
        String own = environment.getOrDefault("JLORA_CACHE_DIR", "");
        if (!own.isBlank()) {
            return Path.of(own);
        }
        String shared = environment.getOrDefault("XDG_CACHE_HOME", "");
        Path base =
                shared.isBlank()
                        ? Path.of(System.getProperty("user.home"), ".cache")
                        : Path.of(shared);
        return base.resolve("jlora");
    }
}
