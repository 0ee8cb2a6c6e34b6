"""Where BentoML listens, which it tells a service nowhere.

Why: an address that others can reach needs keys (docs/decisions/0035). In the supervisor the start
is refused before anything loads; a worker looks at what it was given, however it was started.

Upstream: not reported. `--host` beats BentoML's configuration without changing it, so that only the
command line's own context knows it.
"""

import click
import psutil
from bentoml._internal.configuration.containers import BentoMLContainer


def configured_hosts() -> list[str]:
    """Where `bentoml serve` is about to listen, as it was told in the supervisor."""
    context = click.get_current_context(silent=True)
    host = context.params.get("host") if context is not None else None
    return [host or BentoMLContainer.http.host.get()]


def bound_hosts() -> list[str]:
    """Where this worker listens, whichever way it was started."""
    connections = psutil.Process().net_connections("tcp")
    return [entry.laddr.ip for entry in connections if entry.status == psutil.CONN_LISTEN]
