"""LLM tiers that somebody else serves, each behind its official SDK and the interface of a tier.

`connect.py` makes them from the settings; `tiffin.pipeline.generate` asks them. The SDKs come with
the extra `providers` and are imported only where a profile has such a tier.
"""
