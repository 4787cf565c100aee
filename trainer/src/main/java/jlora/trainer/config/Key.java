package jlora.trainer.config;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * What there is to know about one configuration key, kept on the record component that holds its
 * value. The key's name is the component's in snake case: {@code loraR} is {@code lora_r}.
 */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.RECORD_COMPONENT)
public @interface Key {
    /** What the key does, in one or two sentences. */
    String doc();

    /**
     * The default as YAML would spell it; empty means none (null, or {@link #derived} from other
     * keys).
     */
    String value() default "";

    /** In words, the default that depends on other keys or on the machine. */
    String derived() default "";

    /** The unit of the value, where it has one. */
    String unit() default "";

    /** The numbers allowed, as an interval such as {@code [0, 1)}; see {@link Bounds}. */
    String bounds() default "";

    /** Whether the key must be given wherever its record appears. */
    boolean required() default false;

    /** Whether a run may go on from a checkpoint that was written with another value. */
    boolean mayChange() default false;

    /**
     * The key's name in PEFT's LoraConfig or another of the field's configurations: accepted too.
     */
    String[] also() default {};

    /** The key, where it is not the component's name in snake case. */
    String name() default "";

    /**
     * Spellings of other tools that mean this key: never accepted, only used to suggest the right
     * name.
     */
    String[] aka() default {};
}
