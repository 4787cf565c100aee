/** Timings of ops and training steps, with their results as JSON. */
package jlora.bench;
