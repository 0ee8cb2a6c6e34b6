"""The scaling specification of a profile: how many replicas of each service, and what adds more.

One specification serves every platform: `tiffin deploy render` writes each platform's files from
it, `tiffin deploy simulate` tries it, and the services declare its resources to BentoML.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from tiffin.config.section import Section
from tiffin.config.services import BY_NAME, Signal


def _one_signal() -> dict[Signal, float]:
    return {"queue_depth": 8.0}


class Scaling(Section):
    """How one service scales. Targets are per replica."""

    min: Annotated[int, Field(ge=0, description="Replicas that are always there.")] = 1
    max: Annotated[int, Field(ge=1, description="Most replicas.")] = 1
    cpu: Annotated[
        str, Field(pattern=r"^\d+(\.\d+)?m?$", description="Cores, as Kubernetes writes them.")
    ] = "1"
    memory: Annotated[
        str, Field(pattern=r"^\d+(Mi|Gi)$", description="Memory, as Kubernetes writes it.")
    ] = "512Mi"
    signals: Annotated[
        dict[Signal, Annotated[float, Field(gt=0)]],
        Field(min_length=1, description="What it scales on, each with the target of one replica."),
    ] = Field(default_factory=_one_signal)
    scale_up_window_s: Annotated[
        int, Field(ge=0, le=3600, description="How long load must be high before scaling up.")
    ] = 15
    scale_down_window_s: Annotated[
        int, Field(ge=0, le=3600, description="How long load must be low before scaling down.")
    ] = 300
    start_s: Annotated[
        float, Field(gt=0, description="Measured time until a new replica can serve.")
    ] = 10
    service_s: Annotated[
        float, Field(gt=0, description="Measured time of one request alone on one replica.")
    ] = 0.1
    spread: Annotated[
        float, Field(ge=0, le=5, description="Standard deviation of service_s, as a share of it.")
    ] = 0.3
    parallel: Annotated[int, Field(ge=1, description="Requests that one replica runs at once.")] = 1
    batch: Annotated[
        int, Field(ge=1, description="Waiting requests that a replica runs as one batch.")
    ] = 1
    marginal: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="Time of each further request of a batch, as a share of service_s.",
        ),
    ] = 1
    usd_per_hour: Annotated[float, Field(ge=0, description="What one replica costs.")] = 0

    @field_validator("max")
    @classmethod
    def _not_below_min(cls, value: int, info: object) -> int:
        least = getattr(info, "data", {}).get("min", 0)
        if value < least:
            message = f"below min, which is {least}"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _guard_is_not_alone(self) -> "Scaling":
        if set(self.signals) == {"gpu_percent"}:
            message = "gpu_percent is a guard: it needs another signal as well"
            raise ValueError(message)
        return self


def first_misfit(scaling: Mapping[str, Scaling]) -> tuple[list[str], str] | None:
    """The first setting that its service cannot support: its key and what is wrong with it."""
    for service, how in scaling.items():
        if service not in BY_NAME:
            return ["scaling", service], f"no service {service}; there are: {', '.join(BY_NAME)}"
        for signal in how.signals:
            if signal not in BY_NAME[service].signals:
                known = ", ".join(sorted(BY_NAME[service].signals))
                message = f"{service} cannot scale on {signal}; it can on: {known}"
                return ["scaling", service, "signals", signal], message
        if how.min == 0 and not BY_NAME[service].may_sleep:
            message = f"{service} cannot have 0 replicas: nothing answers in its place"
            return ["scaling", service, "min"], message
        if how.min == 0 and "request_rate_per_s" not in how.signals:
            message = (
                f"{service} with min 0 must scale on request_rate_per_s: nothing else wakes it"
            )
            return ["scaling", service, "min"], message
    return None
