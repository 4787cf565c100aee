package jlora.trainer.launch;

import java.util.List;

/**
 * The shell around each worker that a starter of many processes runs (srun, mpirun). Such a starter
 * ends all workers when one fails, which is right for failures; but workers that were told to stop
 * leave with 75 one after the other, while one of them may still write the checkpoint. So 75
 * becomes 0 towards the starter, and a mark in a folder towards who started it. The first failure
 * leaves its code there too, since starters report the largest, which is that of the killed ones.
 */
final class RankScript {
    /**
     * Arguments: the folder for marks, the program and its words. A signal reaches the worker as
     * well, so here it must only be survived.
     */
    static final String TEXT =
            """
            trap : HUP INT TERM USR1
            marks=$1; shift
            rank=${OMPI_COMM_WORLD_RANK:-${SLURM_PROCID:-0}}
            if [[ -z ${OMPI_COMM_WORLD_RANK:-} && -n ${MASTER_ADDR:-} ]]; then
                export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
            fi
            export JLORA_TERMINATION_LOG=$marks/rank-$rank.json
            "$@"
            code=$?
            [[ $code == 0 ]] && exit 0
            [[ $code == 75 ]] && : >"$marks/preempted-$rank" && exit 0
            (set -o noclobber; echo "$code" >"$marks/failed") 2>/dev/null
            exit "$code"
            """;

    private RankScript() {}

    /** What goes behind {@code bash -c TEXT}. */
    static List<String> arguments(String marks) {
        return List.of("jlora-rank", marks);
    }
}
