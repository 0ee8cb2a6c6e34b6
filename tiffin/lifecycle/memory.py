"""How a service's process looks after memory: while it loads, and when it has loaded.

`services/bento/worker.py` calls the first, and `services/hosting.py` the second.
"""

import gc

YOUNG_OBJECTS = 10_000
"""Allocations between two collections of young objects. Python's 700 mean a collection for each
request, which takes a tenth of the entry service's time; what a request leaves is freed by its
reference counts anyway."""


def begin() -> None:
    """Collect less often while modules are imported: they make many objects and hardly any garbage.

    Looking through them again and again takes a tenth of their time.
    """
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def settle() -> None:
    """Leave what is loaded out of garbage collection, and collect the rest less often.

    Going through everything that is loaded would hold up requests for 50 ms.
    """
    gc.collect()
    gc.freeze()
    begin()
