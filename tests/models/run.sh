#!/bin/sh
# Runs one of the model tests in the peers' environment: tests/models/run.sh mlx|torch|llama|ggml|families|package|endurance|recipes
# Exit 77 with the reason where the environment or a package is not there.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/attune
peers=${ATTUNE_PEERS:-$cache/runtimes}
[ -x "$peers/bin/python" ] || peers=${ATTUNE_PEERS:-$cache/peers}
test=$1
if [ ! -x "$peers/bin/python" ]; then
    echo "skip: no virtual environment at ${ATTUNE_PEERS:-$cache/runtimes}; run tools/peers/install --models"
    exit 77
fi
if [ "$(cat "$peers/.models" 2>/dev/null)" = incomplete ]; then
    echo "skip: the virtual environment at $peers is half made; run tools/peers/install --models"
    exit 77
fi
PYTHONPATH=$root/integrations/python:$here${PYTHONPATH:+:$PYTHONPATH}
ATTUNE_LIB=${ATTUNE_LIB:-$root/build/integrations}
ATTUNE_MODELS=${ATTUNE_MODELS:-$peers/models}
ATTUNE_HOME=$root
export PYTHONPATH ATTUNE_LIB ATTUNE_MODELS ATTUNE_HOME
export TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
code=0
"$peers/bin/python" "$here/t_$test.py" || code=$?
[ "$code" = 0 ] || [ "$code" = 77 ] || echo "rerun: ATTUNE_PEERS=$peers ATTUNE_LIB=$ATTUNE_LIB tests/models/run.sh $test"
exit "$code"
