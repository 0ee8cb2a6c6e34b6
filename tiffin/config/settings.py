"""The settings: one frozen object, read once at start by every process and by the CLI.

Defaults < profile (`tiffin/config/profiles/<name>.yaml`) < environment (`TIFFIN_...`, `__` between
levels) < flags. Names of quantities end in their unit. A mistake is reported in one line that
names the field.
"""

import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, get_origin

import yaml
from pydantic import (
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import (
    SettingsError as UnreadableError,
)

from models.catalog import Catalog
from models.errors import PlacementError
from models.placement.hardware import detect_gpus
from tiffin.config.access import AccessSettings
from tiffin.config.caching import CacheSettings
from tiffin.config.internal import InternalSettings
from tiffin.config.lines import line_of
from tiffin.config.renamed import new_path
from tiffin.config.requests import ChatSettings, LimitSettings, RagSettings
from tiffin.config.resilience import ResilienceSettings
from tiffin.config.routing import ProviderSettings, RoutingSettings, check_database
from tiffin.config.safety import HEADS_READ, SafetySettings
from tiffin.config.scaling import Scaling, first_misfit
from tiffin.config.section import SettingsError
from tiffin.config.services import BY_TIER, SERVICES, Service
from tiffin.config.serving import EncoderSettings, TierSettings
from tiffin.config.telemetry import LogSettings, TracingSettings

__all__ = ["Settings", "SettingsError", "load_settings"]

PREFIX = "TIFFIN_"
FOR_CLIENTS = frozenset({f"{PREFIX}URL", f"{PREFIX}API_KEY"})
"""Variables that clients read: where a server is, and the key to it. They set nothing here."""

PROFILES = Path(__file__).with_name("profiles")


class Settings(BaseSettings):
    """All settings of one Tiffin."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
    )

    home: Path = Path("~/.cache/tiffin")
    """Where weights are stored."""
    profile: str = "laptop"
    """A file in tiffin/config/profiles; if unset, chosen by the GPUs found."""
    corpora: str | Path | None = None
    """Folder of files and corpora, on a local disk, or `postgresql://user@host/database` if
    replicas share them (with `chunks`); if unset, `corpora` in the home."""
    chunks: Annotated[str, Field(pattern=r"^s3://[^/\s]+(/[^/\s]+)*$")] | None = None
    """Where on S3 the chunks of corpora are, as s3://BUCKET/PREFIX, and files too if `corpora` is a
    database; if unset, in that folder."""
    ocr: Annotated[str, Field(pattern=r"^\w+(\+\w+)*$")] | None = None
    """Languages in which tesseract reads scanned PDFs, such as deu+eng; if unset, it does not."""
    embedding: EncoderSettings
    reranker: EncoderSettings
    tiers: Annotated[dict[str, TierSettings], Field(min_length=1)]
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    """Tiers that an API provider serves, by name. As a variable, JSON."""
    routing: RoutingSettings = RoutingSettings()
    rag: RagSettings = RagSettings()
    chat: ChatSettings = ChatSettings()
    safety: SafetySettings = SafetySettings()
    limits: LimitSettings = LimitSettings()
    internal: InternalSettings = InternalSettings()
    scaling: dict[str, Scaling] = Field(default_factory=dict)
    """Replicas of each service. As a variable, JSON."""
    resilience: ResilienceSettings = ResilienceSettings()
    access: AccessSettings = AccessSettings()
    cache: CacheSettings = CacheSettings()
    logs: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    def ledger_at(self) -> str:
        """The SQLite file of the ledger, or the address of its database."""
        ledger = self.routing.ledger or str(self.home / "ledger.sqlite3")
        return ledger if "://" in ledger else str(Path(ledger).expanduser())

    def corpora_at(self) -> Path:
        """The folder of files and corpora, unless they are in a database."""
        named = None if self.corpora_database else self.corpora
        return Path(named or self.home / "corpora").expanduser().absolute()

    @property
    def corpora_database(self) -> str | None:
        """The address of the database in which replicas share corpora."""
        return str(self.corpora) if "://" in str(self.corpora) else None

    def adapters(self) -> dict[str, str]:
        """The tier of every LoRA adapter, by the adapter's name."""
        return {name: tier for tier, its in self.tiers.items() for name in its.adapters}

    def with_models(self) -> Iterator[tuple[Service, EncoderSettings | TierSettings]]:
        """The services of this profile that run a model, each with its settings."""
        for service in SERVICES:
            if service.tier in self.tiers:
                yield service, self.tiers[service.tier]
            elif service.tier is None and service.section is not None:
                yield service, getattr(self, service.section)

    def models(self) -> list[str]:
        """Catalogue names of the models that run."""
        return list(dict.fromkeys(section.model for _, section in self.with_models()))

    @field_validator("corpora")
    @classmethod
    def _check_corpora(cls, corpora: str | Path | None) -> str | Path | None:
        if ":/" in str(corpora):
            check_database(str(corpora))
        return corpora

    @field_validator("tiers")
    @classmethod
    def _check_tiers(cls, tiers: dict[str, TierSettings]) -> dict[str, TierSettings]:
        for name in tiers:
            if name not in BY_TIER:
                raise ValueError(f"no tier {name!r}; use one of: {', '.join(BY_TIER)}")
        return tiers

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before profile; no other source."""
        del dotenv_settings, file_secret_settings
        flags = init_settings() if isinstance(init_settings, InitSettingsSource) else {}
        name = _profile_name(flags)
        layers = [{"profile": name}, *_read_profile(name)]
        profile = [InitSettingsSource(settings_cls, layer) for layer in layers]
        return init_settings, env_settings, *profile


def _profile_name(flags: Mapping[str, Any]) -> str:
    named = flags.get("profile") or os.environ.get(f"{PREFIX}PROFILE")
    return str(named or detected_profile())


def detected_profile() -> str:
    """The profile for this machine, chosen by its GPUs if vLLM is installed to use them."""
    gpus = detect_gpus()
    if not gpus or find_spec("vllm") is None:
        return "laptop"
    return "gpu" if len(gpus) == 1 else "multi-gpu"


def profiles() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def variables() -> dict[str, FieldInfo]:
    """Every environment variable that is a setting, such as `TIFFIN_TIERS__SMALL__MODEL`."""
    return dict(_variables(Settings, PREFIX))


def _variables(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for field, info in section.model_fields.items():
        name = f"{prefix}{field.upper()}"
        kind = info.annotation
        if field == "tiers":
            for tier in BY_TIER:
                yield from _variables(TierSettings, f"{name}__{tier.upper()}__")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _variables(kind, f"{name}__")
        else:
            yield name, info


def load_settings(**flags: Any) -> Settings:  # noqa: ANN401  each field has its own type
    """Read all sources. Raises SettingsError for the first mistake."""
    _check_environment(os.environ)
    try:
        settings = Settings(**flags)
    except ValidationError as error:
        raise SettingsError(_explain(error, _profile_name(flags))) from None
    except PlacementError as error:
        raise SettingsError(str(error)) from None
    except UnreadableError as error:
        raise SettingsError(_unreadable(error)) from None
    if misfit := first_misfit(settings.scaling):
        path, message = misfit
        place = place_in_profile(path, settings.profile)
        raise SettingsError(f"{PREFIX}SCALING ({place}): {message}")
    if settings.corpora_database and settings.chunks is None:
        message = "a database keeps no files: set TIFFIN_CHUNKS=s3://BUCKET/PREFIX too"
        raise SettingsError(f"{PREFIX}CORPORA: {message}, or this to a folder")
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def check_models(settings: Settings, catalog: Catalog) -> None:
    """Raise SettingsError if a model is not in the catalogue or is made for another task.

    Nor can Safety run with another embedding model than its heads read.
    """
    if settings.safety.enabled and settings.embedding.model != HEADS_READ:
        message = f"the heads of Safety read the vectors of {HEADS_READ} only"
        raise SettingsError(f"{PREFIX}SAFETY__ENABLED (safety.enabled in a profile): {message}")
    for service, chosen in settings.with_models():
        section, task, name = service.section, service.task, chosen.model
        allowed = [model.name for model in catalog.models if model.task == task]
        if name not in allowed:
            variable = f"{PREFIX}{section}__MODEL".upper().replace(".", "__")
            message = f"no {task} model {name!r} in the catalogue; use one of: {', '.join(allowed)}"
            raise SettingsError(f"{variable} ({section}.model in a profile): {message}")


def _read_profile(name: str) -> list[dict[str, Any]]:
    """The profile, then the one that it extends, if any."""
    if name not in profiles():
        message = f"{PREFIX}PROFILE: {name!r} is not a profile; use one of: {', '.join(profiles())}"
        raise SettingsError(message)
    path = PROFILES / f"{name}.yaml"
    try:
        profile = TypeAdapter(dict[str, Any]).validate_python(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValidationError) as error:
        message = f"{path.name}: not a mapping in YAML: {' '.join(str(error).split())}"
        raise SettingsError(message) from None
    base = profile.pop("extends", None)
    return [profile] if base is None else [profile, *_read_profile(base)]


def _check_environment(environment: Mapping[str, str]) -> None:
    """Refuse unknown variables: pydantic ignores them, and a typo must not pass silently."""
    known = list(variables())
    for name in environment:
        if name.startswith(PREFIX) and name not in known and name not in FOR_CLIENTS:
            if new := new_path(name.removeprefix(PREFIX).lower().split("__")):
                raise SettingsError(f"{name} was renamed to {_variable(new)}")
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are: {', '.join(known)}"
            raise SettingsError(f"{name}: no such setting{hint}")


def _unreadable(error: UnreadableError) -> str:
    """One line about the variable that pydantic-settings could not read as JSON."""
    for name, info in variables().items():
        text = os.environ.get(name)
        if text is not None and get_origin(info.annotation) in (dict, list, tuple):
            try:
                json.loads(text)
            except ValueError as problem:
                return f"{name}: not JSON: {problem}"
    return str(error)


def _explain(error: ValidationError, profile: str) -> str:
    """One line about the first problem: variable, key in the profile, what is allowed, value."""
    problem = error.errors(include_url=False)[0]
    path = [str(part) for part in problem["loc"] if part != "[key]"]
    variable = _variable(path)
    place = place_in_profile(path, profile)
    if problem["type"] == "extra_forbidden" and (new := new_path(path)):
        return f"{variable} ({place}) was renamed to {_variable(new)} ({'.'.join(new)})"
    if problem["type"] == "missing":
        return f"{variable} ({place}) is needed and not set"
    if problem["type"] == "value_error":  # our own message, which needs no more
        return f"{variable} ({place}): {problem['msg'].removeprefix('Value error, ')}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{variable} ({place}): {message}, not {problem['input']!r}"


def _variable(path: Sequence[str]) -> str:
    return PREFIX + "__".join(path).upper()


def place_in_profile(path: list[str], profile: str) -> str:
    """A profile's key, with its line if the profile sets it and no variable overrides it."""
    key = ".".join(path)
    names = {_variable(path[:depth]) for depth in range(1, len(path) + 1)}
    if names.isdisjoint(os.environ) and (line := profile_line(path, profile)) is not None:
        return f"{key}, line {line} of {profile}.yaml"
    return f"{key} in a profile"


def profile_line(path: Sequence[str], profile: str) -> int | None:
    """The line of a profile's file that sets the key at this path, if one does."""
    file = PROFILES / f"{profile}.yaml"
    return line_of(file.read_text(), path) if file.is_file() else None
