"""Has each process write the lines of `tiffin.telemetry.logs` instead of BentoML's.

Why: BentoML's line names no request, is text only, and its level is not a setting; lines of ours
below a warning are dropped. During a start that `tiffin serve` shows in its own words, a dozen
lines name hooks and classes, and none of them says that everything is ready.

Upstream: not reported. BentoML's `logging` section has formats for ids of traces only; its own
quiet mode hides warnings too.
"""

import logging

from bentoml._internal.context import server_context

from tiffin.cli.start import is_shown
from tiffin.config.telemetry import LogSettings
from tiffin.telemetry import logs

SHOWN = ("bentoml.serve", "bentoml.service.tiffin", "tiffin.lifecycle", "tiffin.traffic")
"""What only says how a start goes on; `tiffin serve` shows that itself."""


def install(settings: LogSettings) -> None:
    """BentoML has set up logging before it loads a service, in every process."""
    logs.install(settings, _process)
    if is_shown():  # a start in its own words
        for name in SHOWN:
            logging.getLogger(name).setLevel(logging.WARNING)


def _process() -> str:
    """Which process writes, such as `RAG:1`; BentoML knows it once the service is loaded."""
    name = server_context.service_name
    return f"{name}:{server_context.worker_index or 1}" if name else "supervisor"
