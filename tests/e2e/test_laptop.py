"""The laptop profile as a user has it, with its own LLM. The other tests serve `tiny`."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.support.asking import ask
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MAX_MIB = 3000


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack, None, None]:
    with running_stack(tmp_path_factory.mktemp("laptop"), TIFFIN_PROFILE="laptop") as running:
        yield running


def test_it_quotes_and_its_llm_reads_when_it_is_asked(
    laptop: Stack, corpus: dict[str, Any]
) -> None:
    quoted = ask(laptop.url, corpus)
    written = ask(laptop.url, corpus, model="small", max_tokens=60)
    assert (quoted["route"]["tier"], written["route"]["tier"]) == ("quote", "small")
    assert written["route"]["model"] == "qwen2.5-coder-0.5b-instruct"
    for answer in (quoted, written):
        assert "1,642" in answer["answer"]
        assert (answer["answered"], answer["degraded"]) == (True, [])
        assert answer["citations"]


def test_all_its_processes_stay_under_3_gb(laptop: Stack) -> None:
    mib = {process.pid: process.memory_full_info().pss >> 20 for process in laptop.processes()}
    assert sum(mib.values()) < MAX_MIB, mib
