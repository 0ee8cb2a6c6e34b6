"""What every platform's renderer starts from."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import yaml

from models.catalog import Catalog
from models.user_catalog import catalog_of
from tiffin.config.placement import gpus_apart, gpus_together
from tiffin.config.routing import key_variable
from tiffin.config.scaling import Scaling
from tiffin.config.services import ENTRY, Signal
from tiffin.config.settings import Settings, place_in_profile
from tiffin.config.topology import dependencies
from tiffin.deploy.errors import DeployError

PORT = 3000
SOURCE_IN_IMAGE = "/home/bentoml/bento/src"
USER_IN_IMAGE = 1034
"""The user that `bentoml containerize` makes."""

START = ("python", "-m", "tiffin.cli.main", "deploy", "start")
"""Run in SOURCE_IN_IMAGE, this starts the service that the environment names."""

TOKEN = "TIFFIN_INTERNAL__TOKEN"  # noqa: S105  the name of a variable
PROVIDERS_SECRET = "tiffin-providers"  # noqa: S105  the name of a secret
KEYS_FILE = "TIFFIN_ACCESS__KEYS_FILE"
WITHOUT_KEYS = {"TIFFIN_ACCESS__WITHOUT_KEYS": "true"}
"""For the entry service where nobody reaches it who has not shown something else before."""


@dataclass(frozen=True)
class Plan:
    """The services of a profile, how each scales, and the image or Bento they come from."""

    settings: Settings
    image: str
    bento: str = "tiffin:latest"
    name: str = "tiffin"

    @property
    def services(self) -> dict[str, Scaling]:
        """How each service of the profile scales; one replica of what it does not mention."""
        scaling = cast("Mapping[str, Scaling]", self.settings.scaling)
        return {name: scaling.get(name, Scaling()) for name in dependencies(self.settings)}

    @property
    def entry(self) -> Scaling:
        """How the entry service scales."""
        return self.services[ENTRY]

    def calls(self, service: str) -> tuple[str, ...]:
        """The services that one calls."""
        return dependencies(self.settings)[service]

    def environment(self, service: str, host: Callable[[str], str]) -> dict[str, str]:
        """What a container needs to start a service alone; `host` names another service's."""
        calls = " ".join(f"{callee}=http://{host(callee)}:{PORT}" for callee in self.calls(service))
        return {
            "BENTOML_SERVE_SERVICE_NAME": service,
            **({"BENTOML_SERVE_DEPENDS": calls} if calls else {}),
            "BENTOML_HOST": "0.0.0.0",  # noqa: S104  inside of the container
            "BENTOML_PORT": str(PORT),
            "BENTOML_HOME": "/tmp/bentoml",  # noqa: S108
            "TIFFIN_HOME": "/tmp/tiffin",  # noqa: S108
            # The root is read-only, and libraries keep what they compile at home.
            "HOME": "/tmp",  # noqa: S108
            "TIFFIN_PROFILE": self.settings.profile,
        }

    @property
    def provider_keys(self) -> list[str]:
        """The variables that hold the keys of providers; the entry service needs them."""
        found = map(key_variable, self.settings.providers.values())
        return sorted({variable for variable in found if variable})

    def whole_gpus(self, service: str) -> int:
        """GPUs of one replica of a service alone; platforms give whole ones only."""
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
        """The first of a platform's signals that the service scales on, with its target.

        Raises DeployError, with the profile's line, when there is none.
        """
        scaling = self.services[service]
        for signal in signals:
            if signal in scaling.signals:
                return signal, scaling.signals[signal]
        place = place_in_profile(["scaling", service, "signals"], self.settings.profile)
        chosen = ", ".join(scaling.signals)
        message = f"{platform} scales on {' or '.join(signals)} only, {service} has {chosen}"
        raise DeployError(f"{message} ({place})")


def cores(amount: str) -> float:
    """Cores as Kubernetes writes them, as a number: 0.5 for `500m`."""
    return int(amount[:-1]) / 1000 if amount.endswith("m") else float(amount)


def slug(service: str) -> str:
    """A service's name as a host name: `small-llm` for SmallLLM."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", service).lower()


def to_yaml(*documents: object, comment: str) -> str:
    """YAML that says where it comes from."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    body = yaml.safe_dump_all(documents, sort_keys=False, width=100, default_flow_style=False)
    return head + body
