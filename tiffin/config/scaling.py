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

    min: Annotated[int, Field(ge=0)] = 1
    """Replicas that are always there."""
    max: Annotated[int, Field(ge=1)] = 1
    """Most replicas."""
    cpu: Annotated[str, Field(pattern=r"^\d+(\.\d+)?m?$")] = "1"
    """Cores, as Kubernetes writes them."""
    memory: Annotated[str, Field(pattern=r"^\d+(Mi|Gi)$")] = "512Mi"
    """Memory, as Kubernetes writes it."""
    signals: Annotated[dict[Signal, Annotated[float, Field(gt=0)]], Field(min_length=1)] = Field(
        default_factory=_one_signal
    )
    """What it scales on, each with the target of one replica."""
    scale_up_window_s: Annotated[int, Field(ge=0, le=3600)] = 15
    """How long load must be high before scaling up."""
    scale_down_window_s: Annotated[int, Field(ge=0, le=3600)] = 300
    """How long load must be low before scaling down."""
    start_s: Annotated[float, Field(gt=0)] = 10
    """Measured time until a new replica can serve."""
    service_s: Annotated[float, Field(gt=0)] = 0.1
    """Measured time of one request alone on one replica."""
    spread: Annotated[float, Field(ge=0, le=5)] = 0.3
    """Standard deviation of service_s, as a share of it."""
    parallel: Annotated[int, Field(ge=1)] = 1
    """Requests that one replica runs at once."""
    batch: Annotated[int, Field(ge=1)] = 1
    """Waiting requests that a replica runs as one batch."""
    marginal: Annotated[float, Field(gt=0, le=1)] = 1
    """Time of each further request of a batch, as a share of service_s."""
    usd_per_hour: Annotated[float, Field(ge=0)] = 0
    """What one replica costs."""

    @field_validator("max")
    @classmethod
    def _not_below_min(cls, value: int, info: object) -> int:
        least = getattr(info, "data", {}).get("min", 0)
        if value < least:
            raise ValueError(f"below min, which is {least}")
        return value

    @model_validator(mode="after")
    def _guard_is_not_alone(self) -> "Scaling":
        if set(self.signals) == {"gpu_percent"}:
            raise ValueError("gpu_percent is a guard: it needs another signal as well")
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
