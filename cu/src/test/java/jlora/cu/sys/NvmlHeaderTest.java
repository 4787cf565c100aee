package jlora.cu.sys;

import jlora.cu.HeaderCheck;

import org.junit.jupiter.api.Test;

import java.io.IOException;

/** What is written down of NVML, against {@code nvml.h} where it is installed. */
class NvmlHeaderTest {
    @Test
    void constantsAndStructs() throws IOException, InterruptedException {
        HeaderCheck.of("nvml.h")
                .constants(NvmlConstants.class, "NVML_")
                .constants(NvmlConstants.class, "nvml")
                .layout("nvmlMemory_t", NvmlSys.MEMORY)
                .layout("nvmlUtilization_t", NvmlSys.UTILIZATION)
                .layout("nvmlEventData_t", NvmlSys.EVENT_DATA)
                .check();
    }
}
