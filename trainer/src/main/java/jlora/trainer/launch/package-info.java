/**
 * Starting jobs: on this machine, under Slurm, on Kubernetes; and the line that a scheduler reads
 * when one ends. A scheduler is one {@link jlora.trainer.launch.Launcher} in {@link
 * jlora.trainer.launch.Launchers}.
 */
package jlora.trainer.launch;
