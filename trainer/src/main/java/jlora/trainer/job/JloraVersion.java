package jlora.trainer.job;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Properties;

/** Which jlora this is. */
public final class JloraVersion {
    private static final String RESOURCE = "version.properties";

    private JloraVersion() {}

    public static String number() {
        Properties properties = new Properties();
        try (InputStream in = JloraVersion.class.getResourceAsStream(RESOURCE)) {
            properties.load(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return properties.getProperty("version");
    }
}
