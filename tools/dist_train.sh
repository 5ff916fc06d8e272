#!/usr/bin/env bash
# Trains on several GPUs (or CPU processes) by torchrun:
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# On several machines, run it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,4p' "$0" >&2
    exit 2
fi
exec bash "$(dirname "$0")/torchrun.sh" train.py "$2" "$1" "${@:3}"
