"""How a service's process looks after memory. `services/hosting.py` calls it once it has loaded."""

import gc
import sys

YOUNG_OBJECTS = 10_000
"""Allocations between two looks at the young. Python's 700 means a look at each request, for a
tenth of the entry service's time; what a request leaves is freed by its reference counts anyway."""


def settle() -> None:
    """Look no more through what is loaded, which stays, and less often through the rest.

    A look through everything would hold up requests for 50 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
    # The loop lists every generator that is in use, eight of a chat, to close them at its end.
    # There is none by then: the drain has ended the requests.
    sys.set_asyncgen_hooks(firstiter=None, finalizer=sys.get_asyncgen_hooks().finalizer)
