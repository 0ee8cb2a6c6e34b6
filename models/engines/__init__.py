"""Engines: what runs a model's weights. One file an engine; `protocol.py` says what each must do."""
