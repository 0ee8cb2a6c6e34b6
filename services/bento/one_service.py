"""Serves one service of the Bento, by BentoML's hidden command `start-http-server`.

Why: split, each service runs in a container of its own. BentoML's entrypoint has a command for
that, which `bentoml serve` does not offer. `tiffin deploy start` runs this module once it has
checked the words: python -m services.bento.one_service SERVICE HOST PORT [NAME=URL ...]

Upstream: not reported. The command is not documented; BentoCloud and Yatai use it.
"""

import sys
from pathlib import Path

from bentoml_cli._internal.start import start_command

SOURCE = Path(__file__).parents[2]
"""The folder that holds service.py: a clone, or `src` of a Bento."""


def words_for(service: str, host: str, port: str, *depends: str) -> list[str]:
    """The words of BentoML's command."""
    bento = SOURCE.parent if (SOURCE.parent / "bento.yaml").is_file() else None
    return [
        "start-http-server",
        str(bento) if bento else "service:RAG",
        f"--service-name={service}",
        f"--host={host}",
        f"--port={port}",
        *(f"--depends={word}" for word in depends),
    ]


if __name__ == "__main__":
    start_command(words_for(*sys.argv[1:]))
