package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.LowRankBorder.Block;
import jlora.runtime.kernel.LowRankBorder.Target;
import jlora.runtime.kernel.Philox;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/**
 * What the kernels of {@code low_rank.cu} are told of a border: its columns in parts that each
 * belong to one block, and the parts that share a pass over a large operand in groups. Laid out as
 * {@code struct Table} there.
 */
final class LowRankTable {
    /** Parts of one launch; a border with more of them takes several. */
    static final int MAX_PARTS = 40;

    private static final int GROUP_BYTES = 24;
    private static final int PART_BYTES = 56;

    /**
     * Adjacent columns of the border.
     *
     * @param block that they belong to, if any
     * @param column the first one
     * @param first the column of the block that this is
     * @param target where the gradient of the block goes, if it is wanted
     */
    record Part(Optional<Block> block, long column, int rank, long first, Optional<Target> target) {
        /** The module's columns of dY. */
        long outFrom() {
            return block.map(Block::outFrom).orElse(0L);
        }

        long out() {
            return block.map(Block::out).orElse(0L);
        }

        long end() {
            return column + rank;
        }

        boolean drops() {
            return block.isPresent() && block.get().dropout() > 0;
        }
    }

    /**
     * Parts that share a pass over columns of a large operand, a strip of them at a time.
     *
     * @param from the first of these columns
     * @param firstStrip strips of the groups before this one
     */
    record Group(List<Part> parts, long from, long width, int firstStrip, int strips) {
        int rank() {
            return parts.stream().mapToInt(Part::rank).sum();
        }
    }

    private LowRankTable() {}

    /** All columns of a border in ascending order, in parts of at most {@code most} columns. */
    static List<Part> covering(LowRankBorder border, List<Target> targets, int most) {
        List<Block> blocks = new ArrayList<>(border.blocks());
        blocks.sort(Comparator.comparingLong(Block::rankFrom));
        List<Part> parts = new ArrayList<>();
        long end = 0;
        for (Block block : blocks) {
            add(parts, Optional.empty(), end, block.rankFrom(), Optional.empty(), most);
            end = block.rankFrom() + block.rank();
            add(parts, Optional.of(block), block.rankFrom(), end, targetOf(block, targets), most);
        }
        add(parts, Optional.empty(), end, border.rank(), Optional.empty(), most);
        return parts;
    }

    /** The columns of the blocks whose gradients are wanted. */
    static List<Part> of(List<Target> targets, int most) {
        List<Part> parts = new ArrayList<>();
        for (Target target : targets) {
            Block block = target.block();
            long from = block.rankFrom();
            add(parts, Optional.of(block), from, from + block.rank(), Optional.of(target), most);
        }
        return parts;
    }

    private static Optional<Target> targetOf(Block block, List<Target> targets) {
        return targets.stream()
                .filter(target -> target.block().rankFrom() == block.rankFrom())
                .findFirst();
    }

    private static void add(
            List<Part> parts,
            Optional<Block> block,
            long from,
            long to,
            Optional<Target> target,
            int most) {
        for (long column = from; column < to; column += most) {
            int rank = (int) Math.min(most, to - column);
            parts.add(new Part(block, column, rank, column - from, target));
        }
    }

    /** Lists of at most {@link #MAX_PARTS} parts. */
    static List<List<Part>> batches(List<Part> parts) {
        List<List<Part>> batches = new ArrayList<>();
        for (int i = 0; i < parts.size(); i += MAX_PARTS) {
            batches.add(parts.subList(i, Math.min(parts.size(), i + MAX_PARTS)));
        }
        return batches;
    }

    /**
     * Groups for a pass over dY: the parts on the same outputs, as many as {@code most} columns;
     * parts of no block have no outputs and no strips.
     */
    static List<Group> overOutputs(List<Part> parts, int most, int strip) {
        List<Part> sorted = new ArrayList<>(parts);
        sorted.sort(Comparator.comparingLong(Part::outFrom).thenComparingLong(Part::out));
        List<Group> groups = new ArrayList<>();
        int strips = 0;
        for (int i = 0; i < sorted.size(); ) {
            Part first = sorted.get(i);
            List<Part> together = new ArrayList<>();
            int rank = 0;
            while (i < sorted.size()
                    && sorted.get(i).outFrom() == first.outFrom()
                    && sorted.get(i).out() == first.out()
                    && rank + sorted.get(i).rank() <= most) {
                rank += sorted.get(i).rank();
                together.add(sorted.get(i++));
            }
            Group group = group(together, first.outFrom(), first.out(), strips, strip);
            strips += group.strips();
            groups.add(group);
        }
        return groups;
    }

    /** Groups for passes over all columns of X, as many columns of the border each as fit. */
    static List<Group> overInputs(List<Part> parts, long cols, int most, int strip) {
        List<Group> groups = new ArrayList<>();
        int strips = 0;
        for (int i = 0; i < parts.size(); ) {
            List<Part> together = new ArrayList<>();
            int rank = 0;
            while (i < parts.size() && rank + parts.get(i).rank() <= most) {
                rank += parts.get(i).rank();
                together.add(parts.get(i++));
            }
            Group group = group(together, 0, cols, strips, strip);
            strips += group.strips();
            groups.add(group);
        }
        return groups;
    }

    private static Group group(List<Part> parts, long from, long width, int strips, int strip) {
        return new Group(parts, from, width, strips, Math.ceilDiv((int) width, strip));
    }

    /** A table without groups; columns are counted from {@code origin} on. */
    static MemorySegment pack(List<Part> parts, long origin) {
        return new Packer(parts.size(), 0).parts(parts, origin, true, false).done();
    }

    /**
     * A table of groups.
     *
     * @param ofB true where gradients are those of B, [n,r]; else of A, [r,K]
     * @param addAlways true where another launch has begun the gradients
     */
    static MemorySegment pack(List<Group> groups, boolean ofB, boolean addAlways) {
        int count = groups.stream().mapToInt(group -> group.parts().size()).sum();
        Packer packer = new Packer(count, groups.size());
        groups.forEach(packer::group);
        groups.forEach(group -> packer.parts(group.parts(), 0, ofB, addAlways));
        return packer.done();
    }

    /** Writes the structure. */
    private static final class Packer {
        private final ByteBuffer bytes =
                ByteBuffer.allocate(8 + MAX_PARTS * (GROUP_BYTES + PART_BYTES))
                        .order(ByteOrder.nativeOrder());
        private int groups;
        private int grouped;
        private int parts;

        Packer(int parts, int groups) {
            if (parts > MAX_PARTS || groups > MAX_PARTS) {
                throw new IllegalArgumentException(parts + " parts, " + groups + " groups");
            }
            bytes.putInt(0, parts).putInt(4, groups);
        }

        void group(Group group) {
            bytes.position(8 + groups++ * GROUP_BYTES);
            bytes.putInt(Math.toIntExact(group.from()))
                    .putInt(Math.toIntExact(group.width()))
                    .putInt(grouped)
                    .putInt(group.parts().size())
                    .putInt(group.firstStrip())
                    .putInt(group.strips());
            grouped += group.parts().size();
        }

        Packer parts(List<Part> all, long origin, boolean ofB, boolean addAlways) {
            all.forEach(part -> part(part, origin, ofB, addAlways));
            return this;
        }

        private void part(Part part, long origin, boolean ofB, boolean addAlways) {
            bytes.position(8 + MAX_PARTS * GROUP_BYTES + parts++ * PART_BYTES);
            Optional<Tensor> gradient = part.target().map(target -> target.grad().tensor());
            boolean add = addAlways || part.target().map(t -> t.grad().accumulate()).orElse(false);
            long step = ofB ? 1 : gradient.map(Tensor::stride).orElse(0L);
            float p = part.block().map(Block::dropout).orElse(0f);
            float kept = p < 1 ? 1f / (1f - p) : 0f;
            float scale = part.block().map(Block::scale).orElse(0f);
            bytes.putLong(gradient.map(t -> t.address() + 4 * step * part.first()).orElse(0L))
                    .putLong(gradient.map(Tensor::stride).orElse(0L))
                    .putInt(Math.toIntExact(part.column() - origin))
                    .putInt(part.rank())
                    .putInt(part.block().map(Block::adapter).orElse(LowRankBorder.NO_ADAPTER))
                    .putInt(Math.toIntExact(part.outFrom()))
                    .putInt(Math.toIntExact(part.out()))
                    .putFloat(ofB ? scale : kept)
                    .putFloat(kept)
                    .putInt((int) Math.min(0xFFFFFFFFL, Philox.dropThreshold(p)))
                    .putInt(part.block().map(Block::stream).orElse(0))
                    .putInt(add ? 1 : 0);
        }

        MemorySegment done() {
            return MemorySegment.ofArray(bytes.array());
        }
    }
}
