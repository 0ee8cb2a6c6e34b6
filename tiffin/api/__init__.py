"""The wire: what clients see of the entry service. FastAPI routes, errors, limits, SSE.

`app.create_app` builds it; `services/rag.py` puts it in front of BentoML's own routes.
"""
