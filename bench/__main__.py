"""`python -m bench [NAME]...`: run the benchmarks named, or all, and print their tables."""

import importlib
import sys

NAMES = (
    "hop",
    "start",
    "encoders",
    "question",
    "whole",
    "gateway",
    "streaming",
    "simulation",
    "cache",
)


def main(names: list[str]) -> None:
    """Run them in order."""
    if unknown := set(names) - set(NAMES):
        message = f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}"
        raise SystemExit(message)
    for name in names or NAMES:
        print(f"{name} ...", file=sys.stderr)  # noqa: T201
        print(importlib.import_module(f"bench.{name}").run())  # noqa: T201


main(sys.argv[1:])
