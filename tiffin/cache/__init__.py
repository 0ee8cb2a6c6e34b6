"""Answers that were given, kept to be given again.

Built by `tiffin.composition`, used by the pipeline.

The exact cache is `answers`: `keys` says when two requests are the same, `control` what a client
allows, `entry` what is kept, and `flight` how several wait for one answer. Questions in other words
are in `remembered`, embeddings in `vectors`. `store` says where things are kept: in memory or in
`redis`, as `opening` chooses. `upkeep` shows and removes them.
"""
