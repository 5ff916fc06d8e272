#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: starts a script of this folder in several processes.
#   tools/torchrun.sh SCRIPT GPUS [arguments of the script]
set -euo pipefail
SCRIPT=$1
GPUS=$2
shift 2
if ! [[ $GPUS =~ ^[1-9][0-9]*$ ]]; then
    echo "error: GPUS must be a whole number, 1 or more, got '$GPUS'" >&2
    exit 2
fi
ROOT=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-python}
NNODES=${NNODES:-1}
if [ -z "${PORT:-}" ] && [ "$NNODES" -eq 1 ]; then
    PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
fi

PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "$PYTHON" -m torch.distributed.run \
    --nnodes="$NNODES" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$ROOT/tools/$SCRIPT" "$@" --launcher pytorch
