package jlora.trainer.data;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;

/**
 * What a data set holds, for the user to check before a long run.
 *
 * @param tokens tokens that batches carry
 * @param trainedTokens labels that count in the loss
 * @param truncatedRows rows whose text was cut to max_length
 * @param allMaskedRows rows that teach nothing: no label counts
 * @param mergedBoundaryRows rows whose prompt ends within a token of the completion
 * @param packingEfficiency share of the packed bins that holds tokens; empty without packing
 */
public record DataStatistics(
        long rows,
        long tokens,
        long trainedTokens,
        long truncatedRows,
        long allMaskedRows,
        long mergedBoundaryRows,
        OptionalDouble packingEfficiency) {

    public DataStatistics withPackingEfficiency(OptionalDouble efficiency) {
        return new DataStatistics(
                rows,
                tokens,
                trainedTokens,
                truncatedRows,
                allMaskedRows,
                mergedBoundaryRows,
                efficiency);
    }

    /** Lines to print: the sizes, then one line for each thing that a user might not expect. */
    public List<String> describe() {
        List<String> lines = new ArrayList<>();
        lines.add(
                String.format(
                        Locale.ROOT,
                        "%,d rows, %,d tokens, %,d of them trained%s",
                        rows,
                        tokens,
                        trainedTokens,
                        packingEfficiency.isPresent()
                                ? String.format(
                                        Locale.ROOT,
                                        ", packed bins %.1f%% full",
                                        100 * packingEfficiency.getAsDouble())
                                : ""));
        note(lines, truncatedRows, "%,d %s cut to max_length");
        note(lines, allMaskedRows, "%,d %s without a trained token");
        note(lines, mergedBoundaryRows, "%,d %s whose prompt and completion share a token");
        return lines;
    }

    private static void note(List<String> lines, long count, String format) {
        if (count > 0) {
            lines.add(String.format(Locale.ROOT, format, count, count == 1 ? "row" : "rows"));
        }
    }
}
