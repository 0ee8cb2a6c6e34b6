"""A machine with GPUs, as far as a program that asks `nvidia-smi` can tell."""

import os
from pathlib import Path


def fake_gpus(folder: Path, *mib: int) -> dict[str, str]:
    """The environment of a process that sees cards of these sizes, all of their memory free."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        "index,name,memory.total": [f"{n}, NVIDIA L4, {size}" for n, size in enumerate(mib)],
        "uuid,index,memory.free": [f"GPU-{n}, {n}, {size}" for n, size in enumerate(mib)],
    }
    cases = "".join(
        f'*{fields}*) printf "%s\\n" {" ".join(repr(line) for line in lines)} ;;\n'
        for fields, lines in rows.items()
    )
    program = folder / "nvidia-smi"
    program.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}esac\n')
    program.chmod(0o755)
    cleared = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return {**cleared, "PATH": f"{folder}:{os.environ['PATH']}"}
