package jlora.runtime.backend.cpu;

import jlora.runtime.JloraException;

import java.util.Arrays;
import java.util.Locale;

/** Which code multiplies matrices on the CPU. */
public enum ProductLibrary {
    /** oneDNN where it is packaged for the platform, else the Vector API. */
    AUTO,
    ONEDNN,
    VECTOR;

    /** The choice of that name, in lower case. */
    public static ProductLibrary of(String name) {
        return Arrays.stream(values())
                .filter(choice -> choice.toString().equals(name))
                .findFirst()
                .orElseThrow(
                        () ->
                                JloraException.usage(
                                        "unknown product library '"
                                                + name
                                                + "': use one of "
                                                + Arrays.toString(values())));
    }

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }

    Products open() {
        return switch (this) {
            case AUTO ->
                    OneDnnLibrary.missing().isEmpty()
                            ? OneDnnProducts.open()
                            : new VectorProducts();
            case ONEDNN -> OneDnnProducts.open();
            case VECTOR -> new VectorProducts();
        };
    }
}
