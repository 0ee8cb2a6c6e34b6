"""Every seam into BentoML, uvicorn and circus, one a file.

Each says why it is there and what upstream says of it. `tests/services/test_seams.py` holds each
against the real thing, with and without the seam; `versions` guards them all, from here.
"""

from services.bento import versions

versions.check()
