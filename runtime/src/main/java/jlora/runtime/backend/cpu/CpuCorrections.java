package jlora.runtime.backend.cpu;

import jlora.runtime.kernel.Corrections;

import java.util.List;

/** The records of all matrices of a merge. */
record CpuCorrections(List<CpuCorrection> records) implements Corrections {
    @Override
    public List<Matrix> matrices() {
        return records.stream().map(CpuCorrection::summary).toList();
    }

    @Override
    public long bytes() {
        return records.stream().mapToLong(CpuCorrection::bytes).sum();
    }

    @Override
    public void close() {
        records.forEach(CpuCorrection::close);
    }
}
