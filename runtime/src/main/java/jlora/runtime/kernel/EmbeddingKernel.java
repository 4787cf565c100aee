package jlora.runtime.kernel;

import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * Table look-up: token embeddings, with learned position embeddings added where the model has them
 * (GPT-2).
 */
public interface EmbeddingKernel {
    /**
     * out[T,C] = table[ids[t]] (+ positionTable[positions[t]]); ids and positions are i32 [1,T].
     */
    void forward(
            Tensor out, Tensor ids, Tensor positions, Tensor table, Optional<Tensor> positionTable);

    /**
     * dTable[V,C] += and dPositionTable[P,C] += the rows of dOut, both f32; always adds (targets
     * are parameter gradients, which accumulate over micro-batches), in an order that does not
     * depend on the thread count.
     */
    void backward(
            Optional<Grad> dTable,
            Optional<Grad> dPositionTable,
            Tensor dOut,
            Tensor ids,
            Tensor positions);
}
