#!/bin/bash
# A worker: one task of an array. `slurm.sh` submits it.
#
#SBATCH --job-name=sigindex-scan
#SBATCH --cpus-per-task=2
#SBATCH --requeue

# $CACHE is postgres://…, which all nodes reach. Without it the cache lies in the home folder: then that has to be one
# for all nodes, with locks that hold among them.
status=0
sigindex scan "$1" ${CACHE:+--cache "$CACHE"} --threads "${SLURM_CPUS_PER_TASK:-1}" || status=$?

# 3: some packages were refused, and all others were read. They are named here, and again when the index is published.
[ "$status" -eq 3 ] || exit "$status"
