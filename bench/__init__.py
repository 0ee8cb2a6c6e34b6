"""Benchmarks: ours and the peer in one run on the same machine, interleaved. `make bench`.

A benchmark is a module whose `run()` gives a `Table`, or several as text; `__main__` runs them and
prints what docs/performance.md shows.
"""
