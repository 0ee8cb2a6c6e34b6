"""Engines run weights. Each has its own file; `protocol.py` says what an engine must do."""
