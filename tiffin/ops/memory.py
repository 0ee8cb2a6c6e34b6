"""How a service's process collects garbage. `services/hosting.py` calls it once it has loaded."""

import gc

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
