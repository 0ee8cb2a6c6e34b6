"""Hides what BentoML logs about a start when `tiffin serve` shows it in its own way.

Why: a dozen lines name hooks and classes, and none of them says that everything is ready.
Warnings and the access log stay.

Upstream: not reported. BentoML's own quiet mode hides warnings and the access log too.
"""

import logging

from tiffin.cli.starting import is_shown

LOGGERS = ("bentoml.serve", "bentoml.service.tiffin")


def install() -> None:
    """Filter the lines of this process. BentoML resets levels when it sets up logging."""
    if is_shown():
        for name in LOGGERS:
            logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.WARNING)
