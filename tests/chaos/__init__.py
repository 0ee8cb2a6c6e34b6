"""Breaks a running Tiffin in every way we know, and measures what its clients see of it.

`make chaos` and `make chaos-short` run it; it prints a table and writes docs/reliability.md. Real
processes throughout. Two set-ups: the `stand` is the real entry service with weightless services
behind it, each reached through a proxy that can break the connection; the `stack` is everything,
with real models.
"""
