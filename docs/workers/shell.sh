#!/bin/sh
# Several workers on this machine, and then the index.
#
#     shell.sh CHANNEL WORKERS
#
# Ends as `sigindex publish` does: 0, or 3 where packages were refused, which are named.
set -eu

channel=$1
workers=$2

running=
part=1
while [ "$part" -le "$workers" ]; do
    sigindex scan "$channel" --part "$part/$workers" --quiet &
    running="$running $!"
    part=$((part + 1))
done

failed=0
for worker in $running; do
    status=0
    wait "$worker" || status=$?
    # 3: some packages were refused, and all others were read.
    case $status in
    0 | 3) ;;
    *) failed=$status ;;
    esac
done
[ "$failed" -eq 0 ] || exit "$failed"

exec sigindex publish "$channel"
