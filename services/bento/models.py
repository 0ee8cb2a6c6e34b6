"""Weights inside a Bento: a model of the catalogue as a content-addressed BentoML model.

Why: each service names its model as a class attribute, so that `bentoml build` records it in the
Bento, `bentoml export` carries it and a Bento serves offline (docs/decisions/0070). BentoML's own
classes expect a model that is already in its store, or one of the model hub.

Upstream: not reported. Overriding `to_info` and `resolve` is how BentoML's own `HuggingFaceModel`
is made.
"""

import errno
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bentoml
from bentoml.exceptions import NotFound
from bentoml.models import BentoModel

from models.catalog import Model


def tag_of(model: Model) -> str:
    """The tag whose version is the content, so that a build finds again what another made."""
    return f"{model.name}:{model.content_id}"


def shipped_folder(model: Model) -> Path | None:
    """Where the files lie that BentoML's model store has of this model."""
    try:
        return Path(bentoml.models.get(tag_of(model)).path)
    except NotFound:
        return None


def put(model: Model, files: Path) -> None:
    """Copy the files of a model into BentoML's model store. Ends the build if there is no room."""
    try:
        _copy(model, files)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = (
            f"tiffin: no room for the {model.size_bytes / 1e6:,.0f} MB of {model.name}: BentoML"
            f" copies them to {tempfile.gettempdir()} (TMPDIR), and from there to BENTOML_HOME"
        )
        raise SystemExit(message) from None


def _copy(model: Model, files: Path) -> None:
    labels = {"task": model.task, "format": model.format}
    metadata = {"licence": model.licence, "quantization": model.quantization}
    with bentoml.models.create(tag_of(model), labels=labels, metadata=metadata) as stored:
        for file in model.files:
            target = Path(stored.path) / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files / file.path, target)


# BentoML's lazy modules carry no types.
class CatalogModel(BentoModel):  # type: ignore[misc]
    """What a service declares. Its weights enter BentoML's store when a Bento is built, only then.

    `fetch` has the weights verified and says where.
    """

    def __init__(self, model: Model, fetch: Callable[[], Path]) -> None:
        super().__init__(tag_of(model))
        # The base is frozen.
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_fetch", fetch)

    def to_info(self, alias: str | None = None) -> Any:  # noqa: ANN401
        """What `bentoml build` writes into bento.yaml."""
        if self.stored is None:
            put(self._model, self._fetch())
        return super().to_info(alias)

    def resolve(self, *_: object, **__: object) -> Any:  # noqa: ANN401
        """The model in BentoML's store; none from a source tree, where the start hook fetches."""
        return self.stored
