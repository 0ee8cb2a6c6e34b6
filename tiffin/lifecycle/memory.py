"""How a service's process looks after memory. `services/hosting.py` calls it once it has loaded."""

import gc

YOUNG_OBJECTS = 10_000
"""Allocations between two collections of young objects. Python's 700 mean a collection for each
request, which takes a tenth of the entry service's time; what a request leaves is freed by its
reference counts anyway."""


def settle() -> None:
    """Leave what is loaded out of garbage collection, and collect the rest less often.

    Going through everything that is loaded would hold up requests for 50 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
