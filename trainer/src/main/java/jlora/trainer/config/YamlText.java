package jlora.trainer.config;

import jlora.runtime.JloraException;

import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Compose;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;
import org.snakeyaml.engine.v2.nodes.SequenceNode;

import java.io.IOException;
import java.nio.charset.MalformedInputException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * YAML 1.2 into {@link Raw} trees with places. Stops at the tree: scalars get their type from the
 * key they belong to, so that {@code 2e-4} is a number for {@code learning_rate} and {@code no} is
 * a word for {@code eval_strategy}.
 */
final class YamlText {
    private static final String STANDARD_TAG = "tag:yaml.org,2002:";
    private static final Set<String> KNOWN_TAGS =
            Set.of("str", "int", "float", "bool", "null", "map", "seq");

    /**
     * Anchors may repeat parts of the tree: a configuration has no use for more nodes than this.
     */
    private static final int MAX_NODES = 100_000;

    private final String source;
    private final Path base;
    private final int fixedLine;
    private int nodes;

    private YamlText(String source, Path base, int fixedLine) {
        this.source = source;
        this.base = base;
        this.fixedLine = fixedLine;
    }

    /** The mapping that a file holds. */
    static Raw.Mapping read(Path file) {
        String text;
        try {
            text = Files.readString(file, StandardCharsets.UTF_8);
        } catch (NoSuchFileException e) {
            throw JloraException.usage(
                    file + ": there is no such configuration file; check the path given with -c");
        } catch (MalformedInputException e) {
            throw JloraException.usage(file + ": not UTF-8 text; save the configuration as UTF-8");
        } catch (IOException e) {
            throw new JloraException(
                    jlora.runtime.ExitCode.USAGE,
                    file
                            + (Files.isDirectory(file)
                                    ? ": is a folder; name the YAML file in it"
                                    : ": cannot be read ("
                                            + e.getMessage()
                                            + "); check its permissions"),
                    e);
        }
        Path folder = file.toAbsolutePath().normalize().getParent();
        YamlText reader = new YamlText(file.toString(), folder, 0);
        Optional<Raw> root = reader.parse(text);
        if (root.isEmpty() || root.get() instanceof Raw.Scalar s && s.isNull()) {
            return new Raw.Mapping(Map.of(), new Place(file.toString(), 1, folder));
        }
        if (root.get() instanceof Raw.Mapping mapping) {
            return mapping;
        }
        throw JloraException.usage(
                root.get().place()
                        + ": the file holds "
                        + root.get().describe()
                        + " where keys are expected; write lines such as 'lora_r: 8'");
    }

    /** A value given on the command line in YAML's flow form, such as {@code [q_proj, v_proj]}. */
    static Raw value(String text, Place place) {
        YamlText reader = new YamlText(place.source(), place.base(), -1);
        return reader.parse(text).orElse(new Raw.Scalar("", true, place));
    }

    private Optional<Raw> parse(String text) {
        try {
            LoadSettings settings =
                    LoadSettings.builder().setLabel(source).setAllowNonScalarKeys(true).build();
            return new Compose(settings).composeString(text).map(this::convert);
        } catch (MarkedYamlEngineException e) {
            int line = e.getProblemMark().map(m -> m.getLine() + 1).orElse(1);
            throw JloraException.usage(
                    at(line)
                            + ": not valid YAML, "
                            + oneLine(e.getProblem())
                            + "; correct the line or quote the value");
        } catch (YamlEngineException e) {
            throw JloraException.usage(
                    at(1) + ": not valid YAML, " + oneLine(e.getMessage()) + "; correct the file");
        } catch (StackOverflowError e) {
            throw JloraException.usage(
                    at(1)
                            + ": nested too deeply to be a configuration; keys are flat, datasets"
                            + " have one level");
        }
    }

    private Raw convert(Node node) {
        Place place = at(node.getStartMark().map(m -> m.getLine() + 1).orElse(1));
        if (++nodes > MAX_NODES) {
            throw JloraException.usage(
                    place
                            + ": more than "
                            + MAX_NODES
                            + " values; a configuration holds settings, data belongs in files");
        }
        String tag = node.getTag().getValue();
        if (!tag.startsWith(STANDARD_TAG)
                || !KNOWN_TAGS.contains(tag.substring(STANDARD_TAG.length()))) {
            throw JloraException.usage(
                    place
                            + ": the tag '"
                            + tag
                            + "' has no meaning here; remove it and write the plain value");
        }
        return switch (node) {
            case ScalarNode s -> new Raw.Scalar(s.getValue(), s.isPlain(), place);
            case SequenceNode s -> {
                List<Raw> elements = new ArrayList<>();
                s.getValue().forEach(e -> elements.add(convert(e)));
                yield new Raw.Sequence(elements, place);
            }
            case MappingNode m -> mapping(m, place);
            default ->
                    throw new IllegalStateException("unexpected YAML node " + node.getNodeType());
        };
    }

    private Raw.Mapping mapping(MappingNode node, Place place) {
        Map<String, Raw.Entry> entries = new LinkedHashMap<>();
        for (NodeTuple tuple : node.getValue()) {
            Raw key = convert(tuple.getKeyNode());
            if (!(key instanceof Raw.Scalar name)) {
                throw JloraException.usage(
                        key.place()
                                + ": a key is "
                                + key.describe()
                                + "; keys are plain names such as 'lora_r'");
            }
            Raw.Entry entry = new Raw.Entry(convert(tuple.getValueNode()), key.place());
            Raw.Entry before = entries.putIfAbsent(name.text(), entry);
            if (before != null) {
                throw JloraException.usage(
                        key.place()
                                + ": key '"
                                + name.text()
                                + "' is given twice, first at "
                                + before.keyPlace()
                                + "; remove one of them");
            }
        }
        return new Raw.Mapping(entries, place);
    }

    private Place at(int line) {
        return new Place(source, fixedLine < 0 ? 0 : line, base);
    }

    private static String oneLine(String text) {
        return text == null ? "unreadable" : text.strip().replaceAll("\\s+", " ");
    }
}
