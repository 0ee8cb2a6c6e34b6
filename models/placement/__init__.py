"""Which model runs on which GPU: pure arithmetic, and what it needs to know about the hardware.

`arithmetic` says what a model takes, `planner` where it is placed, `advice` what would fit instead,
`hardware` which GPUs there are. docs/planning.md explains the numbers and gives their sources.
"""
