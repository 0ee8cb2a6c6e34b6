"""The time limit of tests on what must end soon."""

SOON_S = 8.0
"""Long enough for a busy machine, and short next to what a test makes hang: 20 s or more.

How soon exactly is what the chaos table measures.
"""
