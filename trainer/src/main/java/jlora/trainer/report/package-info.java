/**
 * The report of a run: one self-contained page that needs no network, no script and no other file.
 * It is XHTML-compatible, so that any XML parser reads it too.
 */
package jlora.trainer.report;
