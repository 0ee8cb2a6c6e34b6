"""The settings: one frozen object, read once at start by every process and by the CLI.

Defaults < profile (`models/profiles/<name>.yaml`) < environment (`TIFFIN_...`, `__` between levels)
< flags. Quantities carry their unit in their name. A mistake is one line that names the field.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from models.catalog import Catalog
from tiffin.ops.routing import RoutingSettings, TierCard, UpstreamSettings
from tiffin.ops.section import Section, SettingsError

__all__ = ["Section", "Settings", "SettingsError", "load_settings"]

PREFIX = "TIFFIN_"
PROFILES = Path(__file__).parents[2] / "models" / "profiles"

Count = Annotated[int, Field(ge=1)]
Gpus = Annotated[float, Field(ge=0, description="GPUs, or the share of one; 0 for none.")]


class EncoderSettings(Section):
    """Embedding or Reranker."""

    model: Annotated[str, Field(description="Name in models/catalog.yaml.")]
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="`auto`: a GPU if there is one.")
    ] = "auto"
    gpus: Gpus = 0
    threads: Annotated[int | None, Field(ge=1, description="CPU threads; none for all.")] = None
    workers: Annotated[Count, Field(description="Processes, each with the model.")] = 1
    max_batch_tokens: Annotated[
        int, Field(ge=256, description="Padded tokens in one forward pass.")
    ] = 4096
    max_queue_tokens: Annotated[
        int, Field(ge=1024, description="Tokens that may wait; more are refused with 503.")
    ] = 262_144


class TierSettings(TierCard):
    """One LLM tier that Tiffin serves itself."""

    model: Annotated[str, Field(description="Name in models/catalog.yaml.")]
    context_tokens: Annotated[
        int, Field(ge=256, description="Prompt and answer together, of one request.")
    ] = 4096
    parallel: Annotated[Count, Field(description="Generations at the same time.")] = 2
    max_queue: Annotated[
        int, Field(ge=0, description="Generations that may wait; more are refused with 503.")
    ] = 32
    threads: Annotated[
        int | None, Field(ge=1, description="CPU threads; none for the cores that are free.")
    ] = None
    gpus: Gpus = 0


class RagSettings(Section):
    """The pipeline's defaults; a request may choose otherwise."""

    top_k: Annotated[int, Field(ge=1, le=100, description="Passages that are reranked.")] = 10
    top_n: Annotated[int, Field(ge=1, le=20, description="Passages that the model reads.")] = 3
    max_answer_tokens: Annotated[int, Field(ge=1, le=4096)] = 160
    deadline_ms: Annotated[int, Field(ge=100, le=600_000, description="For a whole request.")] = (
        5000
    )


class LimitSettings(Section):
    """What a request may not exceed."""

    body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    query_chars: Count = 8000
    documents: Count = 1000
    document_chars: Count = 200_000
    concurrency: Annotated[Count, Field(description="Questions in work at once.")] = 64


Tier = Literal["small", "large"]


class Settings(BaseSettings):
    """All settings of one Tiffin."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__"
    )

    home: Annotated[Path, Field(description="Where weights are kept.")] = Path("~/.cache/tiffin")
    profile: Annotated[str, Field(description="A file of models/profiles.")] = "laptop"
    embedding: EncoderSettings
    reranker: EncoderSettings
    tiers: Annotated[dict[Tier, TierSettings], Field(min_length=1)]
    upstreams: Annotated[
        dict[str, UpstreamSettings],
        Field(description="LLM tiers that somebody else serves, by name; in the environment JSON."),
    ] = Field(default_factory=dict)
    routing: RoutingSettings = RoutingSettings()
    rag: RagSettings = RagSettings()
    limits: LimitSettings = LimitSettings()

    def ledger_path(self) -> Path:
        """The SQLite file of costs."""
        return (self.routing.ledger or self.home / "ledger.sqlite3").expanduser()

    def models(self) -> list[str]:
        """Catalogue names of the models that run."""
        tiers = [tier.model for tier in self.tiers.values()]
        return list(dict.fromkeys([self.embedding.model, self.reranker.model, *tiers]))

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
        name = str(flags.get("profile") or os.environ.get(f"{PREFIX}PROFILE") or "laptop")
        profile = InitSettingsSource(settings_cls, _read_profile(name))
        return init_settings, env_settings, profile


def profiles() -> list[str]:
    """Names of the profiles there are."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_settings(**flags: Any) -> Settings:  # noqa: ANN401  each field has its own type
    """Read all sources. Raises SettingsError for the first mistake."""
    _check_environment(os.environ)
    try:
        settings = Settings(**flags)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def check_models(settings: Settings, catalog: Catalog) -> None:
    """Raise SettingsError when a model is not in the catalogue, or is made for another task."""
    chosen = {
        "embedding": (settings.embedding.model, "embedding"),
        "reranker": (settings.reranker.model, "rerank"),
        **{f"tiers.{name}": (tier.model, "chat") for name, tier in settings.tiers.items()},
    }
    for section, (name, task) in chosen.items():
        allowed = [model.name for model in catalog.models if model.task == task]
        if name not in allowed:
            variable = PREFIX + section.upper().replace(".", "__") + "__MODEL"
            message = f"no {task} model {name!r} in the catalogue; use one of: {', '.join(allowed)}"
            raise SettingsError(f"{variable} ({section}.model in a profile): {message}")


def _read_profile(name: str) -> dict[str, Any]:
    if name not in profiles():
        message = f"{PREFIX}PROFILE: {name!r} is not a profile; use one of: {', '.join(profiles())}"
        raise SettingsError(message)
    path = PROFILES / f"{name}.yaml"
    try:
        return TypeAdapter(dict[str, Any]).validate_python(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValidationError) as error:
        message = f"{path.name}: not a mapping in YAML: {' '.join(str(error).split())}"
        raise SettingsError(message) from None


def _check_environment(environment: Mapping[str, str]) -> None:
    """Pydantic ignores variables that it does not know; a typo must not pass silently."""
    known = _variables(Settings)
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are: {', '.join(known)}"
            message = f"{name}: no such setting{hint}"
            raise SettingsError(message)


def _variables(section: type[BaseModel], prefix: str = PREFIX) -> list[str]:
    """Every variable that sets something, as `TIFFIN_TIERS__SMALL__MODEL`."""
    names: list[str] = []
    for field, info in section.model_fields.items():
        name = f"{prefix}{field.upper()}"
        kind = info.annotation
        if field == "tiers":
            for tier in ("SMALL", "LARGE"):
                names += _variables(TierSettings, f"{name}__{tier}__")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            names += _variables(kind, f"{name}__")
        else:
            names.append(name)
    return names


def _explain(error: ValidationError) -> str:
    """One line for the first problem: variable, profile's key, what is allowed, the value."""
    problem = error.errors(include_url=False)[0]
    path = [str(part) for part in problem["loc"] if part != "[key]"]
    variable = PREFIX + "__".join(path).upper()
    if problem["type"] == "missing":
        return f"{variable} ({'.'.join(path)} in a profile) is needed and not set"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{variable} ({'.'.join(path)} in a profile): {message}, not {problem['input']!r}"
