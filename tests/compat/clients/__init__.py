"""One script a client: `python -m tests.compat.clients.NAME`, with TIFFIN_URL set.

Each runs in the environment of its client, which may have nothing of ours installed: nothing here
imports more than the client and `tests.compat.calls`.
"""
