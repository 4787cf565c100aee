package jlora.runtime.adapter.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

class LoraConfigTest {
    /** The linear layers of a Llama with twelve layers. */
    private static final List<String> LLAMA = llama();

    private static List<String> llama() {
        List<String> modules = new ArrayList<>();
        for (int layer = 0; layer < 12; layer++) {
            for (String name : List.of("q", "k", "v", "o")) {
                modules.add("model.layers." + layer + ".self_attn." + name + "_proj");
            }
            for (String name : List.of("gate", "up", "down")) {
                modules.add("model.layers." + layer + ".mlp." + name + "_proj");
            }
        }
        return List.copyOf(modules);
    }

    private static LoraConfig config(
            TargetModules targets,
            Optional<TargetModules> exclude,
            List<Integer> layers,
            List<String> pattern) {
        return config(targets, exclude, layers, pattern, Map.of(), Map.of(), false);
    }

    private static LoraConfig config(
            TargetModules targets,
            Optional<TargetModules> exclude,
            List<Integer> layers,
            List<String> pattern,
            Map<String, Integer> ranks,
            Map<String, Double> alphas,
            boolean rslora) {
        return new LoraConfig(
                8,
                16,
                targets,
                exclude,
                0,
                rslora,
                LoraInit.KAIMING_UNIFORM,
                layers,
                pattern,
                ranks,
                alphas,
                false,
                Optional.empty(),
                Optional.empty(),
                Optional.empty());
    }

    private static List<String> selected(LoraConfig config) {
        return List.copyOf(config.select(LLAMA).keySet());
    }

    private static void refused(String start, Runnable body) {
        JloraException e = assertThrows(JloraException.class, body::run);
        assertEquals(ExitCode.USAGE, e.exitCode());
        assertTrue(e.getMessage().startsWith(start), e.getMessage());
    }

    @Test
    void aNameMatchesExactlyOrBehindADot() {
        LoraConfig config = LoraConfig.of(8, 16, TargetModules.names("q_proj"));
        assertEquals(
                List.of("q_proj", "x.q_proj"),
                List.copyOf(
                        config.select(List.of("q_proj", "x.q_proj", "xq_proj", "q_proj.x"))
                                .keySet()));
        assertEquals(
                List.of("model.layers.1.self_attn.q_proj", "model.layers.11.self_attn.q_proj"),
                selected(
                        LoraConfig.of(
                                8,
                                16,
                                TargetModules.names(
                                        "layers.1.self_attn.q_proj",
                                        "model.layers.11.self_attn.q_proj"))));
    }

    @Test
    void aStringIsARegularExpressionOverTheWholeName() {
        LoraConfig config =
                LoraConfig.of(
                        8, 16, TargetModules.of("model\\.layers\\.[01]\\.mlp\\.(up|down)_proj"));
        assertEquals(4, selected(config).size());
        assertEquals("model.layers.1.mlp.down_proj", selected(config).getLast());
        refused(
                "target_modules: 'q_proj' selects no module",
                () -> LoraConfig.of(8, 16, TargetModules.of("q_proj")).select(LLAMA));
    }

    @ParameterizedTest
    @ValueSource(strings = {"all-linear", "ALL-LINEAR"})
    void allLinearTakesEveryLinearLayer(String text) {
        assertEquals(LLAMA, selected(LoraConfig.of(8, 16, TargetModules.of(text))));
    }

    @Test
    void excludedModulesWinByNameAndByExpression() {
        LoraConfig byName =
                config(
                        new TargetModules.AllLinear(),
                        Optional.of(TargetModules.names("mlp.up_proj", "q_proj")),
                        List.of(),
                        List.of());
        assertEquals(60, selected(byName).size());
        LoraConfig byRegex =
                config(
                        TargetModules.names("q_proj", "v_proj"),
                        Optional.of(new TargetModules.Regex(".*\\.\\d\\..*")),
                        List.of(),
                        List.of());
        assertEquals(
                List.of(
                        "model.layers.10.self_attn.q_proj",
                        "model.layers.10.self_attn.v_proj",
                        "model.layers.11.self_attn.q_proj",
                        "model.layers.11.self_attn.v_proj"),
                selected(byRegex));
    }

    @Test
    void layersToTransformKeepsTheseLayersAndNamesGivenInFull() {
        LoraConfig config =
                config(
                        TargetModules.names("q_proj", "model.layers.5.mlp.up_proj"),
                        Optional.empty(),
                        List.of(0, 11),
                        List.of());
        assertEquals(
                List.of(
                        "model.layers.0.self_attn.q_proj",
                        "model.layers.5.mlp.up_proj",
                        "model.layers.11.self_attn.q_proj"),
                selected(config));
    }

    @Test
    void layersPatternNamesTheListOfLayers() {
        List<String> modules =
                List.of("enc.layer.0.q", "dec.block.0.q", "layer.1.q", "a.layer.0.block.1.q", "q");
        LoraConfig config =
                config(
                        TargetModules.names("q"),
                        Optional.empty(),
                        List.of(1),
                        List.of("block", "layer"));
        assertEquals(
                List.of("layer.1.q", "a.layer.0.block.1.q"),
                List.copyOf(config.select(modules).keySet()).stream()
                        .filter(m -> !m.equals("q"))
                        .toList());
        LoraConfig any = config(TargetModules.names("q"), Optional.empty(), List.of(0), List.of());
        assertEquals(
                List.of("enc.layer.0.q", "dec.block.0.q", "a.layer.0.block.1.q", "q"),
                List.copyOf(any.select(modules).keySet()));
    }

    @Test
    void patternsSetRankAndAlphaAndTheScaleUsesThePatternedRank() {
        Map<String, Integer> ranks = new LinkedHashMap<>();
        ranks.put("layers.1.self_attn.q_proj", 2);
        ranks.put("[qv]_proj", 4);
        ranks.put("q_proj", 99);
        Map<String, Double> alphas = Map.of("model.layers.\\d.self_attn.v_proj", 5.0);
        LoraConfig config =
                config(
                        TargetModules.names("q_proj", "k_proj", "v_proj"),
                        Optional.empty(),
                        List.of(),
                        List.of(),
                        ranks,
                        alphas,
                        false);
        Map<String, LoraSpec> specs = config.select(LLAMA);
        assertEquals(new LoraSpec(2, 8, 0), specs.get("model.layers.1.self_attn.q_proj"));
        assertEquals(new LoraSpec(4, 4, 0), specs.get("model.layers.11.self_attn.q_proj"));
        assertEquals(new LoraSpec(4, 1.25f, 0), specs.get("model.layers.9.self_attn.v_proj"));
        assertEquals(new LoraSpec(4, 4, 0), specs.get("model.layers.10.self_attn.v_proj"));
        assertEquals(new LoraSpec(8, 2, 0), specs.get("model.layers.0.self_attn.k_proj"));
        LoraConfig rslora =
                config(
                        config.targetModules(),
                        Optional.empty(),
                        List.of(),
                        List.of(),
                        ranks,
                        alphas,
                        true);
        assertEquals(2.5f, rslora.spec("model.layers.9.self_attn.v_proj").scale());
        assertEquals(
                (float) (16 / Math.sqrt(8)), rslora.spec("model.layers.9.mlp.up_proj").scale());
    }

    @Test
    void aPatternMatchesFromTheStartOrBehindADotToTheEnd() {
        LoraConfig config =
                config(
                        TargetModules.names("q"),
                        Optional.empty(),
                        List.of(),
                        List.of(),
                        Map.of("k.q", 3),
                        Map.of(),
                        false);
        assertEquals(3, config.spec("a.k.q").rank());
        assertEquals(3, config.spec("k.q").rank());
        assertEquals(3, config.spec("kxq").rank());
        assertEquals(8, config.spec("a.xk.q").rank());
        assertEquals(8, config.spec("a.k.q.z").rank());
    }

    @Test
    void aTargetThatMatchesNothingIsNamedWithWhatThereIs() {
        LoraConfig config = LoraConfig.of(8, 16, TargetModules.names("q_proj", "c_attn"));
        assertEquals(12, config.select(LLAMA).size());
        refused(
                "target_modules: 'c_attn' matches no module of this model; it has down_proj,"
                        + " gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj",
                () -> config.selectEach(LLAMA));
        refused(
                "target_modules: 'c_attn' selects no module",
                () -> LoraConfig.of(8, 16, TargetModules.names("c_attn")).select(LLAMA));
        refused(
                "target_modules: 'q_proj' selects no module of this model that exclude_modules",
                () ->
                        config(
                                        TargetModules.names("q_proj"),
                                        Optional.of(TargetModules.names("q_proj")),
                                        List.of(),
                                        List.of())
                                .select(LLAMA));
    }

    @Test
    void valuesThatMakeNoSenseAreRefusedByKey() {
        TargetModules q = TargetModules.names("q_proj");
        refused("r is 0", () -> LoraConfig.of(0, 16, q));
        refused("r is -4", () -> LoraConfig.of(-4, 16, q));
        refused("lora_alpha is 0.0", () -> LoraConfig.of(8, 0, q));
        refused("lora_alpha is NaN", () -> LoraConfig.of(8, Double.NaN, q));
        refused("lora_alpha is Infinity", () -> LoraConfig.of(8, Double.POSITIVE_INFINITY, q));
        refused("target_modules is empty", () -> LoraConfig.of(8, 16, TargetModules.names()));
        refused("target_modules: a module name is empty", () -> TargetModules.names(""));
        Optional<TargetModules> none = Optional.empty();
        refused(
                "rank_pattern 'x' is 0",
                () -> config(q, none, List.of(), List.of(), Map.of("x", 0), Map.of(), false));
        refused(
                "alpha_pattern 'x' is -1.0",
                () -> config(q, none, List.of(), List.of(), Map.of(), Map.of("x", -1.0), false));
        refused(
                "layers_to_transform has a negative",
                () -> config(q, none, List.of(-1), List.of()));
        refused(
                "layers_to_transform works only with a list",
                () -> config(new TargetModules.AllLinear(), none, List.of(1), List.of()));
        refused(
                "layers_pattern needs layers_to_transform",
                () -> config(q, none, List.of(), List.of("layers")));
        refused(
                "exclude_modules is all-linear",
                () -> config(q, Optional.of(new TargetModules.AllLinear()), List.of(), List.of()));
        refused(
                "rank_pattern: the regular expression '(a'",
                () ->
                        config(q, none, List.of(), List.of(), Map.of("(a", 2), Map.of(), false)
                                .select(LLAMA));
        for (double dropout : new double[] {-0.1, 1, Double.NaN}) {
            refused(
                    "lora_dropout is " + dropout,
                    () ->
                            new LoraConfig(
                                    8,
                                    16,
                                    q,
                                    none,
                                    dropout,
                                    false,
                                    LoraInit.GAUSSIAN,
                                    List.of(),
                                    List.of(),
                                    Map.of(),
                                    Map.of(),
                                    false,
                                    Optional.empty(),
                                    Optional.empty(),
                                    Optional.empty()));
        }
    }
}
