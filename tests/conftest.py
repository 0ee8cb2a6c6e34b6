"""How the tests are spread over processes: see `make test`."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares a stack or an engine: all end-to-end tests, and each file."""
    for item in items:
        group = "e2e" if item.get_closest_marker("e2e") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
