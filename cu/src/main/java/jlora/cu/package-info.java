/**
 * CUDA for Java through Panama. Each library has three layers: raw calls, checked calls, and owners
 * with lifetimes. Knows nothing of tensors.
 */
package jlora.cu;
