"""The house keeps its shape: no circle between its rooms, and no long way from roof to ground."""

import functools

import grimp
import pytest

ROOMS = ("models", "tiffin", "services")
LONGEST_CHAIN = 11
"""Imports that may follow each other from `service.py` down to the last module."""


@pytest.fixture(scope="module")
def imports() -> dict[str, frozenset[str]]:
    """Every module with those that it imports, `service.py` at the top."""
    graph = grimp.build_graph(*ROOMS, cache_dir=None)
    found = {
        module: frozenset(graph.find_modules_directly_imported_by(module))
        for module in graph.modules
    }
    services = frozenset(f"services.{name}" for name in ("embedding", "llm", "rag", "reranker"))
    return found | {"service": services}


def room(module: str) -> str:
    """The package that holds a module: inside of `tiffin/`, each package is one."""
    return ".".join(module.split(".")[: 2 if module.startswith("tiffin.") else 1])


def test_no_two_rooms_import_each_other_however_indirectly(
    imports: dict[str, frozenset[str]],
) -> None:
    rooms: dict[str, set[str]] = {}
    for module, imported in imports.items():
        rooms.setdefault(room(module), set()).update(map(room, imported))

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = rooms[start] - {start}
        while todo:
            name = todo.pop()
            seen.add(name)
            todo |= rooms.get(name, set()) - seen - {name}
        return seen

    assert [name for name in rooms if name in reached(name)] == []


def test_the_longest_chain_of_imports_stays_short(imports: dict[str, frozenset[str]]) -> None:
    @functools.cache
    def chain(module: str) -> tuple[str, ...]:
        below = (chain(name) for name in sorted(imports.get(module, ())))
        return (module, *max(below, key=len, default=()))

    longest = max(map(chain, imports), key=len)
    assert len(longest) - 1 <= LONGEST_CHAIN, " > ".join(longest)
