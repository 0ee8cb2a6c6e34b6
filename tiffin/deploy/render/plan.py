"""What the renderer of every platform starts from."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import yaml

from models.catalog import Catalog
from models.user_catalog import catalog_of
from tiffin.config.placement import gpus_apart, gpus_together
from tiffin.config.routing import key_variable
from tiffin.config.scaling import Scaling
from tiffin.config.section import SettingsError
from tiffin.config.services import ENTRY, Signal
from tiffin.config.settings import Settings, place_in_profile
from tiffin.config.topology import dependencies
from tiffin.deploy.render.carried import (
    OBJECT_STORAGE_KEYS,
    carried,
    object_storage,
    secrets,
)
from tiffin.deploy.render.cluster import Cluster

PORT = 3000
SOURCE_IN_IMAGE = "/home/bentoml/bento/src"
USER_IN_IMAGE = 1034
"""The user that `bentoml containerize` creates."""

START = ("python", "-m", "tiffin.cli.main", "deploy", "start")
"""Run in SOURCE_IN_IMAGE, this starts the service that the environment names."""

PROVIDERS_SECRET = "tiffin-providers"  # noqa: S105  the name of a secret
WITHOUT_KEYS = {"TIFFIN_ACCESS__WITHOUT_KEYS": "true"}
"""For an entry service that only authenticated callers, or only this machine, can reach."""


@dataclass(frozen=True)
class Plan:
    """The services of a profile, how each scales, and the image or Bento they come from."""

    settings: Settings
    image: str
    bento: str = "tiffin:latest"
    name: str = "tiffin"
    cluster: Cluster = field(default_factory=Cluster)
    """Of Kubernetes."""

    @property
    def services(self) -> dict[str, Scaling]:
        """How each service scales; one that the profile does not mention has one replica."""
        scaling = cast("Mapping[str, Scaling]", self.settings.scaling)
        return {name: scaling.get(name, Scaling()) for name in dependencies(self.settings)}

    @property
    def entry(self) -> Scaling:
        """How the entry service scales."""
        return self.services[ENTRY]

    def calls(self, service: str) -> tuple[str, ...]:
        """The other services that a service calls."""
        return dependencies(self.settings)[service]

    def host(self, service: str) -> str:
        """The name of a service on a platform where other programs have names too."""
        return f"{self.name}-{slug(service)}"

    def environment(self, service: str, host: Callable[[str], str]) -> dict[str, str]:
        """What a container needs to start one service; `host` gives the host name of another."""
        calls = " ".join(f"{callee}=http://{host(callee)}:{PORT}" for callee in self.calls(service))
        return {
            "BENTOML_SERVE_SERVICE_NAME": service,
            **({"BENTOML_SERVE_DEPENDS": calls} if calls else {}),
            "BENTOML_HOST": "0.0.0.0",  # noqa: S104  inside of the container
            "BENTOML_PORT": str(PORT),
            "BENTOML_HOME": "/tmp/bentoml",  # noqa: S108
            "TIFFIN_HOME": "/tmp/tiffin",  # noqa: S108
            # The root is read-only, and libraries keep what they compile in the home folder.
            "HOME": "/tmp",  # noqa: S108
            **self.variables,
        }

    @cached_property
    def variables(self) -> dict[str, str]:
        """The settings that every container is given: the profile, and what variables set here."""
        objects = object_storage() if self.settings.chunks is not None else {}
        return {"TIFFIN_PROFILE": self.settings.profile, **carried(), **objects}

    @property
    def provider_keys(self) -> list[str]:
        """The variables with the keys of providers, which the entry service needs."""
        found = map(key_variable, self.settings.providers.values())
        return sorted({variable for variable in found if variable})

    @property
    def passwords(self) -> list[str]:
        """The variables with the passwords of stores that the entry service may need."""
        database = self.settings.corpora_database is not None
        shared = {
            "PGPASSWORD": database or "://" in self.settings.ledger_at(),
            **dict.fromkeys(OBJECT_STORAGE_KEYS, self.settings.chunks is not None),
            "REDIS_PASSWORD": self.settings.cache.redis is not None,
        }
        return [variable for variable, wanted in shared.items() if wanted]

    @cached_property
    def secrets(self) -> list[str]:
        """Other variables that are set here and hold a secret, for every container."""
        return secrets()

    @property
    def all_secrets(self) -> list[str]:
        """All of them, for a platform that gives each container the same."""
        return [*self.provider_keys, *self.passwords, *self.secrets]

    def whole_gpus(self, service: str) -> int:
        """GPUs of one replica of a service; platforms give whole GPUs only."""
        return math.ceil(gpus_apart(self.settings, self._catalog).get(service, 0))

    def gpus_together(self) -> int:
        """GPUs of a container that runs all services."""
        return gpus_together(self.settings, self._catalog)

    @cached_property
    def _catalog(self) -> Catalog:
        return catalog_of(self.settings.home)

    def cores_together(self) -> float:
        """Cores of a container that runs all services."""
        return sum(cores(scaling.cpu) for scaling in self.services.values())

    def target_of(self, service: str, platform: str, *signals: Signal) -> tuple[Signal, float]:
        """The first of these signals that the service scales on, with its target.

        Raises SettingsError with the line of the profile if there is none.
        """
        scaling = self.services[service]
        for signal in signals:
            if signal in scaling.signals:
                return signal, scaling.signals[signal]
        place = place_in_profile(["scaling", service, "signals"], self.settings.profile)
        chosen = ", ".join(scaling.signals)
        message = f"{platform} scales on {' or '.join(signals)} only, {service} has {chosen}"
        raise SettingsError(f"{message} ({place})")


def cores(amount: str) -> float:
    """A number of cores that is written as in Kubernetes: 0.5 for `500m`."""
    return int(amount[:-1]) / 1000 if amount.endswith("m") else float(amount)


def slug(service: str) -> str:
    """A service's name as a host name: `small-llm` for SmallLLM."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", service).lower()


class _Dumper(yaml.CSafeDumper):
    """Writes a part that occurs twice twice: many readers of YAML do not take anchors."""

    def ignore_aliases(self, data: object) -> bool:
        """Whatever it is."""
        del data
        return True


def to_yaml(*documents: object, comment: str = "") -> str:
    """YAML that begins with a comment."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    body = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, width=100, default_flow_style=False
    )
    return head + body
