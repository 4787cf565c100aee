package jlora.trainer.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Workers on CPUs, started by a real mpirun: scripts in place of jlora, as for GPUs. */
@Tag("cluster")
class OpenMpiLaunchTest {
    @TempDir Path folder;
    private Launch launch;

    @BeforeEach
    void create() throws IOException {
        boolean there = Tool.onPath("mpirun").isPresent();
        if (!there) {
            System.out.println("OpenMpiLaunchTest is skipped: mpirun is missing (openmpi-bin)");
        }
        Assumptions.assumeTrue(there, "mpirun is missing: apt-get install openmpi-bin");
        launch = Launch.in(folder);
    }

    private JloraProcess start(int workers, String script) throws IOException {
        Path program =
                Launch.program(
                        folder.resolve("worker"),
                        "say() { echo \"$*\" >> '" + folder.resolve("log") + "'; }\n" + script);
        return JloraProcess.start(
                Map.of("RANK", "9", "MASTER_ADDR", "elsewhere"),
                "launch",
                "local",
                "-c",
                launch.path("run.yaml").toString(),
                "--device",
                "cpu",
                "--workers",
                String.valueOf(workers),
                "--jlora",
                program.toString());
    }

    private List<String> log() throws IOException {
        Path log = folder.resolve("log");
        return Files.exists(log) ? Files.readAllLines(log).stream().sorted().toList() : List.of();
    }

    @Test
    void ranksAreThoseOfOpenMpi() throws IOException, InterruptedException {
        assertEquals(
                0,
                start(3, "say $OMPI_COMM_WORLD_RANK $OMPI_COMM_WORLD_SIZE ${RANK:-none}\n")
                        .await()
                        .code());
        assertEquals(List.of("0 3 none", "1 3 none", "2 3 none"), log());
    }

    @ParameterizedTest
    @CsvSource({"0 0, 0", "75 75, 75", "0 75, 75", "5 5, 5", "137 137, 137"})
    void theWorstEndIsTheJobs(String codes, int expected) throws IOException, InterruptedException {
        String script = "codes=(" + codes + "); exit ${codes[OMPI_COMM_WORLD_RANK]}\n";
        assertEquals(expected, start(2, script).await().code());
    }

    @Test
    void aSignalReachesEveryWorkerAndNoneIsKilledWhileItSaves()
            throws IOException, InterruptedException {
        JloraProcess job =
                start(
                        2,
                        """
                        trap 'stop=1' USR1 TERM INT
                        say ready
                        while [[ -z ${stop:-} ]]; do sleep 0.1; done
                        sleep $((OMPI_COMM_WORLD_RANK * 3))
                        say saved $OMPI_COMM_WORLD_RANK
                        exit 75
                        """);
        for (int i = 0; i < 300 && log().size() < 2; i++) {
            Thread.sleep(100);
        }
        job.process().destroy();
        assertEquals(75, job.await().code());
        assertEquals(List.of("ready", "ready", "saved 0", "saved 1"), log());
    }

    @Test
    void oneFailureEndsAll() throws IOException, InterruptedException {
        long start = System.nanoTime();
        int code =
                start(2, "[[ $OMPI_COMM_WORLD_RANK == 1 ]] && exit 6; exec sleep 600\n")
                        .await()
                        .code();
        assertEquals(6, code);
        assertEquals(true, System.nanoTime() - start < 60e9);
    }
}
