"""The BentoML services, one a file, and the only place that imports bentoml.

A service builds its engine or its part of `tiffin` once; each of its methods is a few lines.
"""
