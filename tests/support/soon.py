"""The time limit of tests on what must end soon."""

SOON_S = 8.0
"""Long for a busy machine, and short beside what a test makes hang, which is 20 s and more.

How soon exactly is what the chaos table measures.
"""
