package jlora.trainer.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.HashMap;
import java.util.Map;

/** What launchers' variables come to; each row is an environment. */
class RanksTest {
    private static Map<String, String> environment(String words) {
        Map<String, String> variables = new HashMap<>();
        for (String word : words == null ? new String[0] : words.split(" ")) {
            String[] parts = word.split("=", 2);
            variables.put(parts[0], parts[1]);
        }
        return variables;
    }

    /** Expected: source, rank, world size, local rank, restarts, master's address and port. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "                                                       | ALONE 0 1 0 0 - 29500",
                "RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 MASTER_ADDR=a MASTER_PORT=1234"
                        + "                                             | TORCHRUN 3 4 1 0 a 1234",
                "RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 MASTER_ADDR=a MASTER_PORT=1234"
                        + " TORCHELASTIC_USE_AGENT_STORE=True TORCHELASTIC_RESTART_COUNT=2"
                        + "                                             | TORCHRUN 3 4 1 2 a 1235",
                "RANK=0 WORLD_SIZE=1                            | TORCHRUN 0 1 0 0 - 29500",
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1"
                        + " OMPI_COMM_WORLD_LOCAL_SIZE=2"
                        + "                                     | OPEN_MPI 1 2 1 0 127.0.0.1 29500",
                "OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=8 OMPI_COMM_WORLD_LOCAL_RANK=1"
                    + " OMPI_COMM_WORLD_LOCAL_SIZE=4 MASTER_ADDR=n1                                "
                    + "             | OPEN_MPI 5 8 1 0 n1 29500",
                // mpirun inside of a batch script hands the script's variables on.
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1"
                        + " SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=2"
                        + " SLURM_RESTART_COUNT=1"
                        + "                                             | OPEN_MPI 1 2 1 1 - 29500",
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1"
                        + " RANK=1 WORLD_SIZE=2                 | OPEN_MPI 1 2 1 0 - 29500",
                "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=3 SLURM_NTASKS=4 SLURM_LOCALID=1"
                        + " SLURM_STEP_NODELIST=gpu[03-04]"
                        + "                                     | SLURM 3 4 1 0 gpu03 29500",
                "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=8"
                        + " SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=0 SLURM_RESTART_COUNT=3"
                        + " SLURM_STEP_NODELIST=a1,b[2,5-7] MASTER_PORT=99"
                        + "                                             | SLURM 1 2 0 3 a1 99",
                // torchrun inside of a task: ranks are torchrun's.
                "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_LOCALID=0"
                        + " RANK=9 WORLD_SIZE=16 LOCAL_RANK=1 MASTER_ADDR=h"
                        + "                                     | TORCHRUN 9 16 1 0 h 29500",
                // The script of a batch job with one task.
                "SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=1"
                        + " SLURM_RESTART_COUNT=1               | ALONE 0 1 0 1 - 29500",
                "SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_LOCALID=0   | ALONE 0 1 0 0 - 29500",
                "JOB_COMPLETION_INDEX=2 JLORA_WORLD_SIZE=4 MASTER_ADDR=job-0.svc"
                        + " JOBSET_RESTART_ATTEMPT=1"
                        + "                                | KUBERNETES 2 4 0 1 job-0.svc 29500",
                // Many runs that have nothing to do with each other.
                "JOB_COMPLETION_INDEX=2                                 | ALONE 0 1 0 0 - 29500",
                "PET_NNODES=4 PET_NODE_RANK=2 PET_NPROC_PER_NODE=1 PET_MASTER_ADDR=m"
                        + " PET_MASTER_PORT=4711                | KUBEFLOW 2 4 0 0 m 4711",
                "PET_NNODES=4 PET_NODE_RANK=2 PET_NPROC_PER_NODE=auto PET_MASTER_ADDR=m"
                        + "                                             | KUBEFLOW 2 4 0 0 m 29500",
                "RANK=2 WORLD_SIZE=4 MASTER_ADDR=m MASTER_PORT=5 PET_NNODES=4 PET_NODE_RANK=2"
                        + "                                             | TORCHRUN 2 4 0 0 m 5",
            })
    void environmentsGiveRanks(String words, String expected) {
        Ranks ranks = Ranks.of(environment(words));
        assertEquals(
                expected,
                "%s %d %d %d %d %s %d"
                        .formatted(
                                ranks.source(),
                                ranks.rank(),
                                ranks.worldSize(),
                                ranks.localRank(),
                                ranks.restartCount(),
                                ranks.masterAddress().orElse("-"),
                                ranks.masterPort()));
    }

    /** Expected: words that the sentence must have. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "RANK=1                                         | RANK is set;WORLD_SIZE is not",
                "WORLD_SIZE=2                                   | WORLD_SIZE is set;RANK is not",
                "RANK=1 WORLD_SIZE=2                            | RANK is set;LOCAL_RANK is not",
                "LOCAL_RANK=1                                   | LOCAL_RANK is set;RANK is not",
                "RANK=2 WORLD_SIZE=2 LOCAL_RANK=0               | RANK is 2;WORLD_SIZE 2",
                "RANK=0 WORLD_SIZE=0 LOCAL_RANK=0               | WORLD_SIZE 0",
                "RANK=-1 WORLD_SIZE=2 LOCAL_RANK=0              | RANK is '-1'",
                "RANK=0 WORLD_SIZE=two LOCAL_RANK=0             | WORLD_SIZE is 'two'",
                "RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_PORT=70000     | MASTER_PORT is 70000",
                "OMPI_COMM_WORLD_RANK=1     | OMPI_COMM_WORLD_RANK is set;SIZE is not",
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2  | LOCAL_RANK is not",
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=0"
                        + " RANK=0 WORLD_SIZE=2         | RANK is 0;OMPI_COMM_WORLD_RANK is 1",
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=0"
                        + " RANK=1 WORLD_SIZE=4         | WORLD_SIZE is 4;SIZE is 2",
                "SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_NTASKS=2   | SLURM_NTASKS is 2;srun jlora",
                "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=1  | SLURM_NTASKS is not",
                "SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=2  | SLURM_LOCALID is not",
                "JLORA_WORLD_SIZE=2                     | JOB_COMPLETION_INDEX is not",
                "JLORA_WORLD_SIZE=2 JOB_COMPLETION_INDEX=2 | JOB_COMPLETION_INDEX is 2",
                "PET_NNODES=2                                   | PET_NODE_RANK is not",
                "PET_NODE_RANK=1                                | PET_NNODES is not",
                "PET_NNODES=2 PET_NODE_RANK=1 PET_NPROC_PER_NODE=8 | PET_NPROC_PER_NODE is 8",
                "PET_NNODES=1:4 PET_NODE_RANK=1                 | PET_NNODES is '1:4'",
                "TORCHELASTIC_RESTART_COUNT=x           | TORCHELASTIC_RESTART_COUNT is 'x'",
            })
    void contradictionsAndHalvesAreErrorsThatNameThem(String words, String parts) {
        Map<String, String> variables = environment(words);
        JloraException refused =
                assertThrows(JloraException.class, () -> Ranks.of(variables), words);
        assertEquals(ExitCode.USAGE, refused.exitCode());
        for (String part : parts.split(";")) {
            assertTrue(refused.getMessage().contains(part), refused.getMessage());
        }
    }
}
