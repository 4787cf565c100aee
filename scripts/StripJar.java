import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Enumeration;
import java.util.regex.Pattern;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/** Leaves out the entries of a jar whose names match: java StripJar.java JAR PATTERN. */
final class StripJar {
    public static void main(String[] args) throws IOException {
        Path jar = Path.of(args[0]);
        Pattern unwanted = Pattern.compile(args[1]);
        Path stripped = Files.createTempFile(jar.toAbsolutePath().getParent(), "strip", ".jar");
        try (ZipFile from = new ZipFile(jar.toFile());
                ZipOutputStream to = new ZipOutputStream(Files.newOutputStream(stripped))) {
            for (Enumeration<? extends ZipEntry> all = from.entries(); all.hasMoreElements(); ) {
                ZipEntry entry = all.nextElement();
                if (!unwanted.matcher(entry.getName()).matches()) {
                    to.putNextEntry(new ZipEntry(entry.getName()));
                    from.getInputStream(entry).transferTo(to);
                    to.closeEntry();
                }
            }
        }
        Files.move(stripped, jar, StandardCopyOption.REPLACE_EXISTING);
    }
}
