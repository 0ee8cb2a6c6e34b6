"""How the tests are spread over processes: see `make test`."""

from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)  # for where pytest-xdist is not installed
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Keep together what shares a stack or an engine: all end-to-end tests, and each file.

    `--dist loadgroup` would, but pytest-xdist 3.8 does not hand its groups on under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByStack(LoadScopeScheduling):  # type: ignore[misc]  # untyped
        def _split_scope(self, nodeid: str) -> str:
            file, _, _ = nodeid.partition("::")
            return "e2e" if file.startswith("tests/e2e/") else file

    return ByStack(config, log)
