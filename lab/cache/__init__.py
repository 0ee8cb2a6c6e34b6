"""Measures what the cache serves, and how often wrongly. `python -m lab.cache.measure`."""
