"""Whatever is sent, the server answers in time, with no 5xx but the documented 503 and 504.

`FUZZ_CASES` sets how many raw requests are sent; schemathesis makes as many in proportion. `make
nightly` sends three times as many as CI.
"""

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import httpx
import pytest

from tests.fuzz.mutations import exchange, requests
from tests.fuzz.target import running_target

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CASES = int(os.environ.get("FUZZ_CASES", "7000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
AT_ONCE = 16


GENERATOR_GAVE_UP = "Cannot generate an array with 1 demanded elements"
"""Schemathesis 4.32 on filters within filters in the tools of `/v1/responses`: it then sends that
route only the cases of its other phases. Whatever the server did wrong is in `FAILURES`."""


def test_broken_http_never_breaks_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    answers: Counter[int | None] = Counter()
    with running_target() as target:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            send = partial(exchange, target.port)
            answers.update(pool.map(send, islice(requests(SEED), CASES)))
        alive = httpx.get(f"http://127.0.0.1:{target.port}/livez").text
    with capsys.disabled():
        print(f"\nraw HTTP: {CASES:,} requests, answers by status: {dict(answers)}")
    assert target.failures == 0, dict(target.statuses)
    assert alive == "ok"


def test_what_the_document_allows_and_forbids(capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(__file__).with_name("schemathesis.toml")
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config)]
    command += ["run", "--seed", str(SEED)]
    command += ["--checks", CHECKS, "--max-examples", str(max(5, CASES // 200))]
    command += ["--exclude-path-regex", "^/(metrics|schema.json|docs.json|rag_stream)$"]
    command += ["--request-timeout", "15", "--continue-on-failure"]
    with running_target() as target:
        url = f"http://127.0.0.1:{target.port}/openapi.json"
        ended = subprocess.run(
            [*command, url], capture_output=True, text=True, timeout=3000, check=False
        )
    with capsys.disabled():
        sent = sum(target.statuses.values())
        print(f"\nschemathesis: {sent:,} requests, {dict(target.statuses)}")
    assert target.failures == 0, ended.stdout[-4000:]
    report = ended.stdout
    if GENERATOR_GAVE_UP in report and "= FAILURES =" not in report:
        return
    assert ended.returncode == 0, report[-8000:]
