"""The application: the RAG API and everything behind it that is neither a model nor BentoML."""

import sys
from pathlib import Path

__version__ = "0.1.0"

_IN_WHEEL = Path(__file__).parent / "_app"

SOURCE = _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_WHEEL.parents[1]
"""The folder that holds service.py, services/ and models/: a clone, a Bento's `src`, or `_app`.

In a wheel they are below this package, because site-packages belongs to others too
(docs/decisions/0098); there the folder comes first on the path.
"""

if SOURCE == _IN_WHEEL:
    sys.path.insert(0, str(SOURCE))
