package jlora.runtime.backend;

/** Results on their way to the host; see {@link Backend#readLater}. */
@FunctionalInterface
public interface Readback {
    /** The f32 elements, row by row; waits until they are there. To be called once. */
    float[] get();
}
