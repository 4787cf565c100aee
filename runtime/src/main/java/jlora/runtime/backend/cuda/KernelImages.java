package jlora.runtime.backend.cuda;

import jlora.cu.driver.DeviceInfo;
import jlora.runtime.JloraException;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The compiled kernels that this jlora was built with. */
public final class KernelImages {
    private static final String FOLDER = "/jlora/kernels/";
    private static final String LIST = "kernels.list";

    /** {@code sm_86}: machine code; {@code compute_80}: PTX; {@code a}: for that one alone. */
    private static final Pattern IMAGE = Pattern.compile("(sm|compute)_(\\d+)(\\d)(a?)");

    private final List<String> files;
    private final List<String> architectures;
    private final String built;

    private KernelImages(List<String> files, List<String> architectures, String built) {
        this.files = files;
        this.architectures = architectures;
        this.built = built;
    }

    public static KernelImages ofThisBuild() {
        Properties properties = new Properties();
        try {
            properties.load(new StringReader(text("build.properties").orElse("")));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return new KernelImages(
                text(LIST).map(list -> list.lines().toList()).orElse(List.of()),
                List.of(properties.getProperty("architectures", "").split(" ")),
                properties.getProperty("built", "nothing"));
    }

    /** What the build said, such as {@code 17 kernel files with nvcc 13.0 for sm_80 compute_80}. */
    public String built() {
        return built;
    }

    /** True when a device can run them. */
    public boolean runOn(DeviceInfo device) {
        return !files.isEmpty() && architectures.stream().anyMatch(a -> runs(a, device));
    }

    static boolean runs(String architecture, DeviceInfo device) {
        Matcher image = IMAGE.matcher(architecture);
        if (!image.matches()) {
            return false;
        }
        int major = Integer.parseInt(image.group(2));
        int minor = Integer.parseInt(image.group(3));
        if (!image.group(4).isEmpty()) {
            return major == device.major() && minor == device.minor();
        }
        boolean newer = major == device.major() && minor <= device.minor();
        return newer || image.group(1).equals("compute") && major < device.major();
    }

    void require(DeviceInfo device) {
        if (files.isEmpty()) {
            throw JloraException.usage(
                    "this jlora was built without kernels ("
                            + built
                            + "); build it again where nvcc of CUDA 12 or 13 is, or name that in"
                            + " NVCC or CUDA_HOME");
        }
        if (!runOn(device)) {
            throw JloraException.usage(
                    device.name()
                            + " is "
                            + device.architecture()
                            + ", and the kernels of this jlora were built for "
                            + String.join(", ", architectures)
                            + "; build it again with JLORA_CUDA_ARCHITECTURES=\""
                            + device.major()
                            + device.minor()
                            + "\" (sm_80 and newer)");
        }
    }

    /** The file that a kernel is in: the longest whose name the kernel's begins with. */
    String fileOf(String kernel) {
        return files.stream()
                .filter(name -> kernel.startsWith(name + "_"))
                .max((a, b) -> a.length() - b.length())
                .orElseThrow(
                        () ->
                                new IllegalArgumentException(
                                        "no kernel file for " + kernel + " in " + files));
    }

    byte[] image(String file) {
        return resource(file + ".fatbin")
                .orElseThrow(() -> new IllegalStateException(file + ".fatbin is not in the jar"));
    }

    private static Optional<String> text(String name) {
        return resource(name).map(bytes -> new String(bytes, StandardCharsets.UTF_8));
    }

    private static Optional<byte[]> resource(String name) {
        try {
            URL file = locate(name);
            if (file == null) {
                return Optional.empty();
            }
            try (InputStream in = file.openStream()) {
                return Optional.of(in.readAllBytes());
            }
        } catch (FileNotFoundException e) {
            return Optional.empty();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Of several folders on the class path the first that has kernels, and nothing from others. */
    private static URL locate(String name) throws IOException {
        URL list = KernelImages.class.getResource(FOLDER + LIST);
        if (list == null) {
            return KernelImages.class.getResource(FOLDER + name);
        }
        String folder = list.toString();
        return URI.create(folder.substring(0, folder.length() - LIST.length()) + name).toURL();
    }
}
