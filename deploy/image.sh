#!/usr/bin/env bash
# Builds the container image of a Bento: `deploy/image.sh [BENTO] [IMAGE]`, called by `make image`.
#
# With a Docker engine this is `bentoml containerize`. Without one, buildah does the same as root,
# without an engine, a registry or user namespaces: the base image is made of Debian packages. A
# folder in UV_FIND_LINKS (or pip's find-links) is there while packages are installed.
set -euo pipefail
cd "$(dirname "$0")/.."
bento=${1:-tiffin:latest}
image=${2:-tiffin:latest}
bentoml=${BENTOML:-.venv/bin/bentoml}

if docker version >/dev/null 2>&1; then
    exec "$bentoml" containerize "$bento" --image-tag "$image"
fi

for tool in buildah debootstrap; do
    command -v "$tool" >/dev/null || {
        echo "neither a Docker engine nor $tool is here: apt-get install buildah debootstrap" >&2
        exit 1
    }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot BUILDAH_FORMAT=docker
base=docker.io/library/python:3.11-slim

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates,bash,libgomp1 \
        bookworm "$work/root" >/dev/null
    mkdir -p "$work/root/etc/uv" "$work/root/wheels"
    # The machine's own certificates, where a proxy of the operator's answers for the registry.
    cp -L /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/ca-certificates.crt"
    cp "$(command -v "${UV:-.venv/bin/uv}")" "$work/root/usr/local/bin/uv"
    printf 'native-tls = true\n[pip]\nfind-links = ["/wheels"]\n' >"$work/root/etc/uv/uv.toml"
    ln -s /usr/bin/python3 "$work/root/usr/local/bin/python"
    rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
    printf 'FROM scratch\nADD root /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n' >"$work/Dockerfile"
    buildah bud --tag "$base" "$work"
fi

wheels=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}
# A CPU build of torch that lies there would be taken before the one for CUDA.
if grep -q '^vllm==' "$("$bentoml" get "$bento" --output path)/env/python/requirements.txt"; then
    wheels=
fi
[ -d "$wheels" ] || { mkdir -p "$work/wheels" && wheels=$work/wheels; }
PATH="$(dirname "$(readlink -f "$bentoml")"):$PATH" "$bentoml" containerize "$bento" \
    --backend buildah --image-tag "$image" --opt volume="$wheels:/wheels:ro" --opt pull-never
