"""Running services apart: starts one alone, renders files for platforms, simulates scaling.

`tiffin.cli.deploy` is its only caller.
"""
