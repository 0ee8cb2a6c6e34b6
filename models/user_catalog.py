"""The user's own catalogue, in addition to ours: `catalog.yaml` in Tiffin's home, in the same form.

`tiffin models add` and `quantize` write it, and users may; it is read wherever the catalogue is.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from filelock import FileLock

from models.catalog import Catalog, Model, load_catalog
from models.errors import CatalogError

FILE = "catalog.yaml"


def catalog_of(home: Path) -> Catalog:
    """Our catalogue and the user's. Raises CatalogError for a mistake or a name that is ours."""
    ours, path = load_catalog(), home.expanduser() / FILE
    if not path.is_file():
        return ours
    known = {model.name for model in ours.models}
    added = load_catalog(path).models
    if twice := next((model.name for model in added if model.name in known), None):
        raise CatalogError(f"{path.name}: model {twice}: Tiffin's own catalogue has that name")
    return Catalog(models=(*ours.models, *added))


def add(home: Path, model: Model) -> None:
    """Put a model into the user's catalogue; it replaces one of the same name."""
    _rewrite(home, lambda kept: [*(entry for entry in kept if entry.name != model.name), model])


def remove(home: Path, name: str) -> None:
    """Take a model out of the user's catalogue. Raises CatalogError if it is not there."""

    def without(kept: Sequence[Model]) -> list[Model]:
        models = [entry for entry in kept if entry.name != name]
        if len(models) == len(kept):
            known = ", ".join(entry.name for entry in kept) or "none"
            raise CatalogError(f"no model {name!r} in your catalogue; it has: {known}")
        return models

    _rewrite(home, without)


def _rewrite(home: Path, change: Callable[[Sequence[Model]], list[Model]]) -> None:
    (home / "locks").mkdir(parents=True, exist_ok=True)
    path = home / FILE
    with FileLock(home / "locks" / "catalog.lock"):
        models = change(load_catalog(path).models if path.is_file() else ())
        rows = [entry.model_dump(mode="json", exclude_none=True) for entry in models]
        fresh = path.with_suffix(".new")
        fresh.write_text(yaml.safe_dump({"models": rows}, sort_keys=False), encoding="utf-8")
        fresh.rename(path)
