"""LLM tiers of API providers, each behind its official SDK and the common interface of a tier.

`connect.py` makes them from the settings; `tiffin.pipeline.generate` calls them. The SDKs come with
the extra `providers` and are imported only if a profile has such a tier.
"""
