#!/bin/bash
# Publishes what the workers read. `slurm.sh` submits it.
#
#SBATCH --job-name=sigindex-publish
#SBATCH --cpus-per-task=2

exec sigindex publish "$1" ${CACHE:+--cache "$CACHE"} --threads "${SLURM_CPUS_PER_TASK:-1}"
