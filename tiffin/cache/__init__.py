"""Answers that were given, kept to be given again. Built by `tiffin.gateway`, used by the pipeline.

`keys` says when two requests are the same, `control` what a client allows, `entry` what is kept,
`store` where, `flight` how several wait for one answer, and `answers` puts them together.
"""
