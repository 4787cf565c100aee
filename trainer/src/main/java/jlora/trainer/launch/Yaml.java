package jlora.trainer.launch;

import org.snakeyaml.engine.v2.api.Dump;
import org.snakeyaml.engine.v2.api.DumpSettings;
import org.snakeyaml.engine.v2.api.StreamDataWriter;
import org.snakeyaml.engine.v2.common.FlowStyle;
import org.snakeyaml.engine.v2.common.ScalarStyle;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;
import org.snakeyaml.engine.v2.nodes.SequenceNode;
import org.snakeyaml.engine.v2.nodes.Tag;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Maps, lists, strings, numbers and booleans as YAML. Kubernetes still reads YAML 1.1, where {@code
 * on} is a boolean and {@code 1:30} a number, so strings that are not plainly words are quoted.
 */
final class Yaml {
    private static final Pattern WORD = Pattern.compile("[A-Za-z/][\\w./-]*");
    private static final Set<String> MEANINGS =
            Set.of("true", "false", "yes", "no", "on", "off", "y", "n", "null");

    private Yaml() {}

    /** The documents of one file. */
    static String write(List<? extends Map<String, ?>> documents) {
        Dump dump =
                new Dump(
                        DumpSettings.builder()
                                .setDefaultFlowStyle(FlowStyle.BLOCK)
                                .setExplicitStart(true)
                                .setIndicatorIndent(2)
                                .setIndentWithIndicator(true)
                                .setWidth(10_000)
                                .setSplitLines(false)
                                .build());
        Text text = new Text();
        documents.forEach(document -> dump.dumpNode(node(document), text));
        return text.toString();
    }

    private static Node node(Object value) {
        return switch (value) {
            case Map<?, ?> map ->
                    new MappingNode(
                            Tag.MAP,
                            map.entrySet().stream()
                                    .map(e -> new NodeTuple(node(e.getKey()), node(e.getValue())))
                                    .toList(),
                            FlowStyle.BLOCK);
            case List<?> list ->
                    new SequenceNode(
                            Tag.SEQ, list.stream().map(Yaml::node).toList(), FlowStyle.BLOCK);
            case String string -> new ScalarNode(Tag.STR, string, style(string));
            case Boolean bool -> new ScalarNode(Tag.BOOL, bool.toString(), ScalarStyle.PLAIN);
            case Integer number -> new ScalarNode(Tag.INT, number.toString(), ScalarStyle.PLAIN);
            default -> throw new IllegalArgumentException("no YAML for " + value.getClass());
        };
    }

    private static ScalarStyle style(String string) {
        boolean lines =
                string.endsWith("\n") && string.chars().allMatch(c -> c >= 0x20 || c == '\n');
        if (lines) {
            return ScalarStyle.LITERAL;
        }
        boolean word =
                WORD.matcher(string).matches()
                        && !MEANINGS.contains(string.toLowerCase(Locale.ROOT));
        return word ? ScalarStyle.PLAIN : ScalarStyle.DOUBLE_QUOTED;
    }

    private static final class Text implements StreamDataWriter {
        private final StringBuilder text = new StringBuilder();

        @Override
        public void write(String piece) {
            text.append(piece);
        }

        @Override
        public void write(String piece, int offset, int length) {
            text.append(piece, offset, offset + length);
        }

        @Override
        public String toString() {
            return text.toString();
        }
    }
}
