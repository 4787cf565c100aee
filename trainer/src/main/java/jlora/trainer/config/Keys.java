package jlora.trainer.config;

import jlora.runtime.adapter.lora.LoraInit;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/** The keys of one configuration record, in the order of its components. */
final class Keys {
    private static final Map<Class<? extends Record>, Keys> CACHE = new ConcurrentHashMap<>();

    private final Class<? extends Record> type;
    private final Map<String, Info> infos = new LinkedHashMap<>();

    /** One key: its name, the Java type of its value, and what its annotation says. */
    record Info(String name, RecordComponent component, Key key, Optional<Bounds> bounds) {
        Type type() {
            return component.getGenericType();
        }

        /** The type of the value itself where the component is optional. */
        Type valueType() {
            return isOptional() ? ((ParameterizedType) type()).getActualTypeArguments()[0] : type();
        }

        boolean isOptional() {
            return component.getType() == Optional.class;
        }

        /** Whether the key may stand alone on the command line, which then means true. */
        boolean isFlag() {
            return List.of(boolean.class, Boolean.class, GradientCheckpointing.class)
                    .contains(valueType());
        }

        /** Whether several words may follow the key on the command line. */
        boolean isList() {
            Type value = valueType();
            return value == ModuleNames.class
                    || value instanceof ParameterizedType p && p.getRawType() == List.class;
        }

        /** Whether the value maps names to numbers. */
        boolean isMap() {
            return valueType() instanceof ParameterizedType p && p.getRawType() == Map.class;
        }

        Object of(Record config) {
            try {
                return component.getAccessor().invoke(config);
            } catch (IllegalAccessException | InvocationTargetException e) {
                throw new IllegalStateException("cannot read " + name, e);
            }
        }
    }

    private Keys(Class<? extends Record> type) {
        this.type = type;
        for (RecordComponent component : type.getRecordComponents()) {
            Key key = component.getAnnotation(Key.class);
            if (key == null) {
                throw new IllegalStateException(
                        type.getSimpleName() + "." + component.getName() + " has no @Key");
            }
            String name = key.name().isEmpty() ? snakeCase(component.getName()) : key.name();
            Optional<Bounds> bounds =
                    Optional.of(key.bounds()).filter(b -> !b.isEmpty()).map(Bounds::parse);
            infos.put(name, new Info(name, component, key, bounds));
        }
    }

    private static String snakeCase(String name) {
        return name.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
    }

    static Keys of(Class<? extends Record> type) {
        return CACHE.computeIfAbsent(type, Keys::new);
    }

    Class<? extends Record> type() {
        return type;
    }

    Collection<Info> all() {
        return infos.values();
    }

    Optional<Info> find(String name) {
        return Optional.ofNullable(infos.get(name));
    }

    /**
     * Refuses a number, or any number in an optional, list or map, that is outside the bounds of
     * its key.
     */
    void check(String name, Object value) {
        Bounds bounds =
                infos.get(name)
                        .bounds()
                        .orElseThrow(() -> new IllegalStateException(name + " has no bounds"));
        switch (value) {
            case Optional<?> optional -> optional.ifPresent(v -> check(name, v));
            case List<?> list -> list.forEach(v -> check(name, v));
            case Map<?, ?> map ->
                    map.forEach((k, v) -> checkNumber(name, name + "." + k, (Number) v, bounds));
            default -> checkNumber(name, name, (Number) value, bounds);
        }
    }

    private static void checkNumber(String key, String label, Number value, Bounds bounds) {
        if (!bounds.contains(value.doubleValue())) {
            throw new BadValueException(
                    List.of(key),
                    label + " is " + ConfigYaml.inline(value) + ", but must be " + bounds.words());
        }
    }

    /**
     * The name of an enum constant in configurations: its Java name in lower case, but PEFT's
     * boolean for its default initialisation.
     */
    static String nameOf(Enum<?> constant) {
        return constant == LoraInit.KAIMING_UNIFORM
                ? "true"
                : constant.name().toLowerCase(Locale.ROOT);
    }
}
