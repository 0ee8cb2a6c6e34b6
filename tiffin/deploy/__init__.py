"""Deploying Tiffin split: which services there are, starting one alone, scaling, rendering, trying.

Pure Python beside the services; `tiffin.cli.deploy` is its only caller.
"""
