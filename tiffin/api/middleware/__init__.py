"""ASGI middleware in front of the routes, one concern a file; `tiffin.api.app` orders them."""
