package jlora.runtime.plan;

import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Finds, while a plan is recorded, reads of bytes that nothing has written and writes to what is
 * read-only. Written regions are kept as column ranges, since that is how tensors share a storage:
 * a product's input and the low-rank columns behind it.
 */
final class WriteCheck {
    private record Columns(long from, long to) {}

    private final Map<Storage, List<Columns>> written = new HashMap<>();

    void check(Step step) {
        for (Tensor read : step.reads()) {
            Storage storage = read.storage();
            if (storage.role().planned()
                    && !covers(written.getOrDefault(storage, List.of()), columns(read))) {
                throw new IllegalStateException(
                        step.label() + " reads " + read.describe() + " before it is written");
            }
        }
        for (Tensor write : step.writes()) {
            Storage.Role role = write.storage().role();
            if (role == Storage.Role.CONSTANT || role == Storage.Role.INPUT) {
                throw new IllegalStateException(
                        step.label() + " writes the read-only " + write.describe());
            }
            add(written.computeIfAbsent(write.storage(), s -> new ArrayList<>()), columns(write));
        }
    }

    private static Columns columns(Tensor view) {
        long from = view.stride() == 0 ? 0 : view.offset() % view.stride();
        return new Columns(from, from + view.cols());
    }

    private static boolean covers(List<Columns> ranges, Columns wanted) {
        return ranges.stream().anyMatch(r -> r.from <= wanted.from && wanted.to <= r.to);
    }

    private static void add(List<Columns> ranges, Columns added) {
        long from = added.from;
        long to = added.to;
        for (var it = ranges.iterator(); it.hasNext(); ) {
            Columns r = it.next();
            if (r.from <= to && from <= r.to) {
                from = Math.min(from, r.from);
                to = Math.max(to, r.to);
                it.remove();
            }
        }
        ranges.add(new Columns(from, to));
    }
}
