"""Data to measure retrieval on: `python -m lab.retrieval`."""
