#!/usr/bin/env bash
# All checks that need a GPU, in under ten minutes, on the profile `gpu`: prints Markdown tables.
#
#   bench/gpu.sh            needs one NVIDIA GPU of 16 GB or more
#
# The plan's memory beside what nvidia-smi shows (to be within 10 %), two vLLM engines and two
# encoders started together on one card, decode throughput through Tiffin beside bare vLLM (to be
# 0.98 of it or more), encoder throughput beside bare sentence-transformers, and what no CPU does: an
# FP8 checkpoint, a tier that sleeps, encoders in half precision.
# Exit codes: 0 all figures reached, 1 one was not or a step failed, 3 there is no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "bench/gpu.sh: $2" >&2
    exit "$1"
}

command -v nvidia-smi >/dev/null || fail 3 "there is no GPU here: nvidia-smi is not installed"
nvidia-smi --query-gpu=name --format=csv,noheader >/dev/null 2>&1 ||
    fail 3 "there is no GPU here: nvidia-smi finds no driver"

venv=${GPU_VENV:-.venv-gpu}
if [[ ! -x $venv/bin/bentoml ]]; then
    make .venv-gpu/gpu.stamp
fi
bin=$(cd "$venv/bin" && pwd)

work=$(mktemp -d)
server=
stop() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap stop EXIT

export TIFFIN_PROFILE=gpu BENTOML_HOME=$work/bentoml
port=$("$bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

"$bin/tiffin" models pull
"$bin/tiffin" plan

# Bare, before anything of ours is on the card.
"$bin/python" -m bench.gpu_checks bare >"$work/bare.json"

"$bin/bentoml" serve --port "$port" >"$work/serve.log" 2>&1 &
server=$!
for ((second = 0; second < 240; second++)); do
    if curl --silent --fail --max-time 2 "http://127.0.0.1:$port/readyz" >/dev/null; then
        break
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 1
done
if ! curl --silent --fail --max-time 2 "http://127.0.0.1:$port/readyz" >/dev/null; then
    tail -n 40 "$work/serve.log" >&2
    fail 1 "the services that were started together on one GPU did not come up"
fi

"$bin/python" -m bench.gpu_checks compare --supervisor "$server" --log "$work/serve.log" \
    --bare "$work/bare.json"
