"""Engines: what runs weights. One file an engine; `protocol.py` says what each must do."""
