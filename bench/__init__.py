"""Benchmarks: ours and the peer in one run on the same machine, interleaved. `make bench`.

A benchmark is a module with `run() -> Table`; `__main__` runs them and prints what
docs/performance.md shows.
"""
