"""Trains and measures the head that says whether the passages answer a question."""
