package jlora.runtime.adapter.lora;

/**
 * What one module gets of an adapter.
 *
 * @param rank r
 * @param scale s: alpha/r, or alpha/√r with rsLoRA
 * @param dropout probability on the low-rank path's input
 */
public record LoraSpec(int rank, float scale, float dropout) {
    public LoraSpec {
        if (rank < 1 || !(dropout >= 0 && dropout < 1) || !Float.isFinite(scale)) {
            throw new IllegalArgumentException(
                    "rank " + rank + ", scale " + scale + ", dropout " + dropout);
        }
    }
}
