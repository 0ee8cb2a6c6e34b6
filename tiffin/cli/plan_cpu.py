"""`tiffin plan` on a machine without a GPU: all models share the memory of the machine."""

from dataclasses import dataclass
from typing import Self

import click
import psutil
from rich.table import Table

from models.catalog import Catalog, Model
from models.placement.hardware import GB
from models.store import Store
from tiffin.cli.as_json import print_json
from tiffin.cli.plan_room import requests
from tiffin.cli.progress import MB, print_table
from tiffin.config.serving import TierSettings
from tiffin.config.settings import Settings


@dataclass(frozen=True)
class Machine:
    """What its models take of its memory. `tiers` is the tier of each service that is an LLM's."""

    profile: str
    total_bytes: int
    models: dict[str, Model]
    tiers: dict[str, TierSettings]
    missing_bytes: int

    @classmethod
    def of(cls, settings: Settings, catalog: Catalog) -> Self:
        """The machine that we are on, with the models of the settings."""
        served = {service.name: section for service, section in settings.with_models()}
        models = {name: catalog.get(section.model) for name, section in served.items()}
        store = Store(settings.home)
        return cls(
            settings.profile,
            psutil.virtual_memory().total,
            models,
            {name: one for name, one in served.items() if isinstance(one, TierSettings)},
            sum(one.size_bytes for one in models.values() if not store.is_present(one)),
        )

    @property
    def left_bytes(self) -> int:
        """What no model takes."""
        return self.total_bytes - sum(model.memory_bytes for model in self.models.values())

    def show(self, *, as_json: bool) -> None:
        """Print it, as a table or in the shape in which GPUs are printed."""
        if as_json:
            print_json([self._as_json()])
            return
        title = f"No GPU: CPU, {self.total_bytes / GB:.1f} GB"
        table = Table("service", "model", "engine", "memory", title=title, title_justify="left")
        for service, model in self.models.items():
            memory = f"{model.memory_bytes / GB:.2f} GB"
            table.add_row(service, model.name, model.engine, memory)
        print_table(table)
        click.echo(f"left {self.left_bytes / GB:.2f} GB for the processes and everything else")
        for service, tier in self.tiers.items():
            click.echo(f"{service}: room for {requests(tier.parallel, tier.context_tokens)}")
        fetch = f" (fetches {self.missing_bytes / MB:,.0f} MB first)" if self.missing_bytes else ""
        click.echo(f"Next: tiffin serve --profile {self.profile}{fetch}")

    def _as_json(self) -> dict[str, object]:
        return {
            "gpu": None,
            "total_bytes": self.total_bytes,
            "left_bytes": self.left_bytes,
            "models": [self._row(service) for service in self.models],
        }

    def _row(self, service: str) -> dict[str, object]:
        model, tier = self.models[service], self.tiers.get(service)
        return {
            "service": service,
            "model": model.name,
            "engine": model.engine,
            "total_bytes": model.memory_bytes,
            "context_tokens": tier and tier.context_tokens,
            "requests_at_once": tier and tier.parallel,
        }
