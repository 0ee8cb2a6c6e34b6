"""Writes the state that `test_upgrade.py` reads, in a checkout of the version it is to be of.

    git worktree add --detach ../earlier REVISION
    cp tests/upgrade/make.py ../earlier/
    cd ../earlier && python make.py .../tests/upgrade/earlier.tar.xz
    python make.py .../tests/upgrade/earlier_ledger.sql    a shared ledger; needs PostgreSQL

It asks that version's own entry service, in front of stand-ins without weights, so that what is
written is what a server of that version writes: two corpora, the ledger, the file of keys, and
kept answers as a server of Redis has them.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from tests.support.corpora import HANDBOOK, TOWER, Hashed, asking, filled
from tests.support.postgres import programs, running_postgres
from tests.support.redis import running_redis
from tests.support.services import entry
from tiffin import __version__
from tiffin.config.settings import load_settings
from tiffin.core.context import Attempt
from tiffin.core.messages import Alternative, Complexity, RouteDecision
from tiffin.routing.ledger import Entry, Ledger, Recorded

CHAT = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
KEYS = "tiffin.traffic.key_file" if find_spec("tiffin.traffic.key_file") else "tiffin.traffic.keys"
QUESTION = {"query": "when are tickets refunded?", "corpus": "help", "model": "quote"}


AT = 1_790_000_000.0
USD = 0.25


def book(ledger: Path | str) -> None:
    """An attempt that cost something, and the decision before it."""
    books = Ledger(ledger, now=lambda: AT)
    whose = Entry("req-1", "acme", "web", "auto", AT)
    hard = Complexity("complex", 0.8, 0.4, "model: text")
    others = [Alternative("small", 0.4, 0.0, None), Alternative("large", 0.9, 0.25, None)]
    decision = RouteDecision("large", "best", [], "auto", hard, alternatives=others)
    books.decided(whose, Recorded(decision, "auto", [], 120, 64))
    books.closed(whose, Attempt(0, "large", "big", "openai", outcome="ok", usd=USD))
    books.close()


async def make(home: Path, redis: str) -> dict[str, Any]:
    """Fill the folder; what a test needs to know of it."""
    book(home / "ledger.sqlite3")
    keys = import_module(KEYS)
    key = keys.KeyFile(home / "keys.json").create("web", tenant="acme", requests_per_minute=600)
    settings = load_settings(
        profile="laptop",
        home=home,
        corpora=home / "corpora",
        access={"keys_file": home / "keys.json"},
        cache={"exact": True, "redis": redis},
        rag={"grounding": "off", "prefer": "write"},
        safety={"enabled": False},
    )
    services = Hashed()
    headers = {"authorization": f"Bearer {key}"}
    async with entry(services, settings) as http, asking(services, key) as client:
        await filled(client, "help", {"handbook.md": HANDBOOK})
        await filled(client, "towers", {"tower.txt": TOWER})
        asked = await http.post("/rag_query", json=QUESTION, headers=headers)
        chat = await http.post("/v1/chat/completions", json=CHAT, headers=headers)
    raw: Redis = Redis.from_url(redis)
    kept = {
        base64.b64encode(name).decode(): base64.b64encode(await raw.dump(name) or b"").decode()
        async for name in raw.scan_iter("*")
    }
    await raw.aclose()
    return {
        "version": __version__,
        "revision": _revision(),
        "key": key,
        "question": QUESTION,
        "answer": asked.json()["answer"],
        "sources": [source["text"] for source in asked.json()["sources"]],
        "chat": CHAT,
        "said": chat.json()["choices"][0]["message"]["content"],
        "kept": kept,
    }


def dumped() -> str:
    """The ledger in PostgreSQL, as statements that make it again, one a line or more."""
    folder = programs()
    assert folder is not None, "no PostgreSQL here: install Debian's package postgresql"
    with running_postgres(folder) as server:
        book(server.url)
        program = (folder / "initdb").resolve().with_name("pg_dump")
        command = [str(program), "--inserts", "--no-owner", server.url]
        dump = subprocess.check_output(command, text=True)
    kept = [line for line in dump.splitlines() if line and not line.startswith(("--", "\\"))]
    return "\n".join([f"-- {__version__}, {_revision()}", *kept, ""])


def _revision() -> str:
    return subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()  # noqa: S607


def main() -> None:
    """Write the archive or the file of SQL named."""
    target = Path(sys.argv[1]).resolve()
    if target.suffix == ".sql":
        target.write_text(dumped(), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as name:
        home = Path(name, "home")
        home.mkdir()
        os.environ["TIFFIN_HOME"] = str(home)
        with running_redis(Path(name)) as server:
            told = asyncio.run(make(home, server.url))
        (home / "told.json").write_text(json.dumps(told))
        with tarfile.open(target, "w:xz") as archive:
            archive.add(home, ".")


if __name__ == "__main__":
    main()
