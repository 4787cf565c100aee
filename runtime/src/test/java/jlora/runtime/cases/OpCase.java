package jlora.runtime.cases;

/**
 * One set of sizes, types and options of an op; a record, whose components name it and seed its
 * values.
 */
public interface OpCase<K> {
    /** The tensors and calls, the same at every call. */
    Problem<K> problem();
}
