"""Where a worker's process begins: BentoML's own worker, without what no worker of ours uses.

Why: each worker imports BentoML's client of its cloud and its clients of services, which bring
httpx, aiohttp and a few hundred attrs classes: a quarter of a second of CPU time and 15 MiB in each
of six processes (docs/decisions/0129). The supervisor starts this file in place of BentoML's
module, if BentoML is a version that this is tested with.

Upstream: not reported.
"""

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Self

BENTOML_S = "_bentoml_impl.worker.service"
"""The module that BentoML starts workers by."""

CLIENTS = "_bentoml_impl.client"

UNUSED = (
    CLIENTS,
    "_bentoml_impl.server.proxy",
    "_bentoml_impl.server.serving",
    "bentoml._internal.cloud.client",
    "bentoml._internal.cloud.config",
    "bentoml._internal.cloud.schemas.modelschemas",
    "bentoml._internal.cloud.schemas.schemasv1",
    "bentoml._internal.utils.analytics",
    "opentelemetry.instrumentation.asgi",
)
"""What BentoML imports names from, and uses only when it is told to do what we never tell it."""


class Unused(ModuleType):
    """Stands in for a module until something that was imported from it is used."""

    def __getattr__(self, name: str) -> "_Name":
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(self.__name__, name)


class _Name:
    """Stands in for a function or class of such a module; its use imports the module."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:  # noqa: ANN401
        for name in [name for name, module in sys.modules.items() if type(module) is Unused]:
            del sys.modules[name]  # all of them, because they import one another
        return getattr(import_module(self._module), self._name)

    def __call__(self, *args: object, **options: object) -> Any:  # noqa: ANN401
        return self._real()(*args, **options)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._real(), name)


class NoProxy:
    """In place of `RemoteProxy`, by which BentoML lets a service call others and itself.

    BentoML makes one for every service and dependency; ours call by `tiffin.transport`.
    """

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def as_service(self) -> Self:
        """What a dependency of the entry service is."""
        return self

    async def __aenter__(self) -> Self:
        return self

    async def close(self) -> None:
        """Nothing was opened."""

    async def is_ready(self, _: int) -> bool:
        """The entry service's `/readyz` says more (`tiffin.lifecycle.readiness`)."""
        return True

    def __getattr__(self, name: str) -> Callable[..., None]:
        """A new one each time, because BentoML puts a method's own code on it."""

        def refuse(*_: object, **__: object) -> None:
            raise NotImplementedError(f"{name}: call the service by tiffin.transport")

        return refuse


def put_off(names: Iterable[str]) -> None:
    """Import these modules only when something of them is used."""
    for name in names:
        sys.modules.setdefault(name, Unused(name))


def install() -> None:
    """Before anything of BentoML is imported."""
    put_off(UNUSED)
    vars(sys.modules[CLIENTS])["RemoteProxy"] = NoProxy


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])  # not this folder, whose names are our own
    from tiffin.config.section import Section
    from tiffin.lifecycle import memory

    memory.begin()
    install()
    Section.model_config["use_attribute_docstrings"] = False  # read for `tiffin settings`
    import_module(BENTOML_S).main()
