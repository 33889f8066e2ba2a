#!/bin/sh
# An array of workers, and the index once all of them ended well.
#
#     CACHE=postgres://… slurm.sh CHANNEL WORKERS
set -eu

folder=$(dirname "$0")
array=$(sbatch --parsable --array="1-$2" "$folder/slurm-scan.sh" "$1")
sbatch --dependency="afterok:${array%%;*}" --kill-on-invalid-dep=yes "$folder/slurm-publish.sh" "$1"
