package jlora.bench.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.cases.OpStems;

import org.junit.jupiter.api.Test;

import java.util.List;
import java.util.stream.Collectors;

/** The op benchmark times what the op cases name: every op, each point under a name of its own. */
class OpPointTest {
    @Test
    void everyOpHasPointsAndEveryPointItsOwnId() {
        List<String> ids = OpPoint.all().stream().map(OpPoint::id).toList();
        assertEquals(ids.size(), ids.stream().distinct().count());
        assertEquals(
                OpStems.ALL.stream().map(stem -> stem.name()).collect(Collectors.toSet()),
                ids.stream()
                        .map(id -> id.substring(0, id.indexOf('.')))
                        .collect(Collectors.toSet()));
    }

    @Test
    void pointOpensByItsIdAloneAndRuns() {
        try (Backend backend = new CpuBackend(new CpuOptions(1, ProductLibrary.AUTO))) {
            try (OpPoint.Ready ready = OpPoint.open("gelu.0.forward", backend)) {
                ready.call().run();
            }
            assertThrows(
                    IllegalArgumentException.class, () -> OpPoint.open("gelu.0.apply", backend));
        }
    }
}
