"""Runs every client's script against a stack; makes docs/compatibility.md of the verdicts."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/compatibility.md"
CLIENT_LIMIT_S = 240

OURS = sys.executable
COMPAT, LITELLM, AGENTS = (
    str(ROOT / f".venv-{name}/bin/python") for name in ("compat", "litellm", "agents")
)
NODE = str(ROOT / ".venv-agents/bin/node")
JAVASCRIPT = ROOT / "tests/compat/js"
SCRIPTS = {
    "openai": AGENTS,
    "openai_agents": AGENTS,
    "pydantic_ai": AGENTS,
    "langchain": COMPAT,
    "llama_index": COMPAT,
    "haystack": COMPAT,
    "litellm": LITELLM,
    "anthropic": OURS,
    "cohere": OURS,
    "huggingface_hub": OURS,
    "bentoml": OURS,
    "curl": OURS,
}
"""The modules of `tests.compat.clients` in the page's order; the Python that has the client."""

IN_JAVASCRIPT = ("openai.js", "ai_sdk.js", "langchain.js", "cohere.js", "huggingface.js")
"""Those in tests/compat/js/clients."""

ALL = (*SCRIPTS, *IN_JAVASCRIPT)

HEAD = """# Compatibility: which client can call what

Written by `make compat` (`python -m tests.compat --report docs/compatibility.md`), which runs every
call below against the real stack with real models; the slow tests do it again and fail when a
verdict differs from this page. A client changes its base URL and the names of models, and nothing
else unless a row says so. The base URL is `http://localhost:3000/v1` for OpenAI's shape and
`http://localhost:3000` for Anthropic's, Cohere's, TEI's and BentoML's.

The answers of the OpenAI routes, every frame of a stream and every error among them, are also held
against OpenAI's published OpenAPI schema (`tests/data/openai`), with unknown fields forbidden. What
we send beyond it: `task` in `/v1/models`; `error` in the `error` event of `/v1/responses`, from
which OpenAI's client makes its exception; `store` and `cache_write_tokens` in responses and vectors
in base64, as OpenAI does; a null `finish_reason` in all but the last piece of a `text_completion`.
"""


@dataclass(frozen=True)
class Verdict:
    """What became of one call. `surprise` says in what it differs from what its script says."""

    client: str
    version: str
    call: str
    works: bool
    why: str
    surprise: str


def run(url: str, names: Iterable[str] = ALL) -> list[Verdict]:
    """The verdicts of all scripts; two run at a time, as most of their time is importing."""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda name: _verdicts(name, url), names)
    return [verdict for verdicts in found for verdict in verdicts]


def javascript_lacks() -> str:
    """Why the clients in JavaScript cannot be called here; empty if they can."""
    for path in (NODE, JAVASCRIPT / "node_modules/openai"):
        if not Path(path).exists():
            return f"{path} is missing: `make compat-setup` makes it"
    return ""


def _command(name: str) -> list[str]:
    if name in IN_JAVASCRIPT:
        if lacks := javascript_lacks():
            raise FileNotFoundError(lacks)
        return [NODE, str(JAVASCRIPT / "clients" / name)]
    if not Path(SCRIPTS[name]).exists():
        raise FileNotFoundError(f"{SCRIPTS[name]} is missing: `make compat-setup` makes it")
    return [SCRIPTS[name], "-m", f"tests.compat.clients.{name}"]


def _verdicts(name: str, url: str) -> list[Verdict]:
    environment = {"TIFFIN_URL": url, "PYTHONWARNINGS": "ignore", "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        _command(name),
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=CLIENT_LIMIT_S,
    )
    if done.returncode:
        raise RuntimeError(f"the script {name} ended early:\n{done.stderr}")
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"client"')]
    return [Verdict(**json.loads(line)) for line in lines]


def page(verdicts: Iterable[Verdict]) -> str:
    """The page in Markdown."""
    verdicts = list(verdicts)
    working = sum(verdict.works for verdict in verdicts)
    parts = [HEAD, f"\n{working} of {len(verdicts)} calls work.\n"]
    for (client, version), of_client in groupby(verdicts, lambda one: (one.client, one.version)):
        rows = [_row(verdict) for verdict in of_client]
        parts.append(f"\n## {client} {version}\n\n| call | verdict |\n| --- | --- |\n")
        parts += rows
    return "".join(parts)


def sections(text: str) -> dict[str, str]:
    """The page by client, without the versions, which differ between environments."""
    parts = re.split(r"^## (.+) \S+$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))


def _row(verdict: Verdict) -> str:
    said = "works" if verdict.works else f"**does not work**: {verdict.why}"
    if verdict.surprise:
        said = f"**not as expected**: {' '.join(verdict.surprise.split())[:300]}"
    return f"| `{_cell(verdict.call)}` | {_cell(said)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
