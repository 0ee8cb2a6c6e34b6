"""Whether every seam into BentoML and uvicorn takes hold, in BentoML's own worker.

Each is shown with the seam and without it: what upstream does by itself is why the seam is there.
When upstream has mended that, the test says so, and the seam can go. The supervisor has a file of
its own (`test_supervisor`), and so has the image (`test_image`).
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from _bentoml_impl.server import allocator
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from bentoml.exceptions import BentoMLException
from bentoml.models import BentoModel
from bentoml_cli._internal.start import start_command

from models.catalog import load_catalog
from services.bento import bento_yaml, gpus, one_service, versions
from services.bento.models import CatalogModel, shipped_folder, tag_of
from tests.support.probe import Running, running_probe
from tests.support.stack import ROOT
from tiffin.lifecycle.supervision import DIRECTORY_VARIABLE


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Running], None, None]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                running_probe(tmp_path_factory.mktemp("probe") / name, stock=name == "stock")
            )
            for name in ("ours", "stock")
        }


both = pytest.mark.parametrize("which", ["ours", "stock"])


@pytest.mark.slow
@both
def test_no_timer_of_bentoml_s_ends_a_request(probes: dict[str, Running], which: str) -> None:
    assert probes[which].post("/slow").status_code == (200 if which == "ours" else 504)


@pytest.mark.slow
@both
def test_no_span_is_recorded_that_no_one_exports(probes: dict[str, Running], which: str) -> None:
    answer = probes[which].post("/quick")
    assert answer.text == "done"
    # BentoML takes this header from the request's span.
    assert ("x-bentoml-request-id" in answer.headers) == (which == "stock")


@both
def test_only_known_paths_are_counted(probes: dict[str, Running], which: str) -> None:
    probe = probes[which]
    probe.post("/quick")
    probe.post("/made/up")
    metrics = probe.raw(b"GET /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").decode()
    assert 'endpoint="/quick"' in metrics
    assert ('endpoint="/made/up"' in metrics) == (which == "stock")


@both
def test_what_is_no_http_is_answered_by_our_protocol(
    probes: dict[str, Running], which: str
) -> None:
    head, _, body = probes[which].raw(b"hello\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    if which == "ours":
        assert json.loads(body)["error"]["code"] == "invalid_http"
    else:
        assert body.startswith(b"Invalid HTTP request received")


@both
def test_a_line_of_the_log_has_our_form(probes: dict[str, Running], which: str) -> None:
    probes[which].post("/quick")
    line = next(
        line for line in probes[which].log.read_text().splitlines() if "initialized" in line
    )
    assert ("Z [INFO] [Probe:1] " in line) == (which == "ours")


@both
def test_bentoml_sends_no_service_to_a_gpu(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    from services.embedding import Embedding

    one_gpu = {"cpu": 2.0, allocator.NVIDIA_GPU: [0]}
    monkeypatch.setattr(allocator, "system_resources", lambda: one_gpu)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv(gpus.VARIABLE)
    if which == "ours":
        gpus.install()
    embedding: Any = Embedding
    services = {"Embedding": {"resources": {"gpu": 0.5}}, "Small": {"resources": {"gpu": 0.1}}}
    made = allocator.ResourceAllocator()
    _, environment = made.get_worker_env(embedding, services=services)
    assert environment == ({} if which == "ours" else {"CUDA_VISIBLE_DEVICES": "0"})
    assert os.environ.get(gpus.VARIABLE) == ("1" if which == "ours" else None)


def test_bentoml_knows_the_words_that_start_one_service() -> None:
    words = one_service.words_for("Router", "127.0.0.1", "3000", "LLM=http://llm:3000")
    command: Any = start_command.commands[words[0]]
    with command.make_context("start", words[1:]) as context:
        told = context.params
    assert (told["bento"], told["service_name"], told["depends"]) == (
        "service:RAG",
        "Router",
        ("LLM=http://llm:3000",),
    )
    assert (told["host"], told["port"]) == ("127.0.0.1", 3000)


@both
def test_a_model_enters_bentoml_s_store_when_a_bento_is_built(tmp_path: Path, which: str) -> None:
    (tmp_path / "weights").write_text("w")
    catalog = load_catalog()
    whole = catalog.get("all-minilm-l6-v2")
    file = whole.files[0].model_copy(update={"path": "weights"})
    model = whole.model_copy(update={"files": (file,)})
    BentoMLContainer.model_store.set(ModelStore(tmp_path))
    try:
        assert shipped_folder(model) is None
        if which == "ours":
            declared = CatalogModel(model, lambda: tmp_path)
            assert declared.resolve() is None, "a source tree is served without it"
            assert str(declared.to_info().tag) == tag_of(model)
            folder = shipped_folder(model)
            assert folder is not None
            assert (folder / "weights").read_text() == "w"
        else:
            with pytest.raises(BentoMLException, match="could not be found locally"):
                BentoModel(tag_of(model)).to_info()
    finally:
        BentoMLContainer.model_store.reset()


def test_a_bento_names_the_profile_that_it_was_built_for(tmp_path: Path) -> None:
    source = tmp_path / "src"
    assert bento_yaml.profile(source) is None
    (tmp_path / "bento.yaml").write_text("labels:\n  tiffin.profile: gpu\n")
    assert bento_yaml.profile(source) == "gpu"


def test_another_version_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    versions.check()
    assert caplog.messages == []
    monkeypatch.setitem(versions.TESTED, "uvicorn", ("0.1", "0.2"))
    with caplog.at_level(logging.WARNING):
        versions.check()
    (message,) = caplog.messages
    assert message.startswith(f"uvicorn {uvicorn.__version__} is installed; Tiffin is tested with")


def test_a_name_that_upstream_dropped_ends_the_start() -> None:
    with pytest.raises(SystemExit, match=r"gpus has no Gone; Tiffin is tested with bentoml"):
        versions.replace(gpus, "Gone", None)


@pytest.mark.slow
@both
def test_an_inner_service_imports_no_client_and_no_fastapi(which: str) -> None:
    """As BentoML's worker does: every process loads the composition, and serves a part of it."""
    program = """
        import sys
        from services.bento import worker
        install = worker.install() if sys.argv[1] == "ours" else None
        from _bentoml_impl.loader import load
        from _bentoml_impl.worker import service
        router = load("service:RAG").find_dependent_by_name("Router")
        router.to_asgi(is_main=False).build_middleware_stack()
        heavy = "fastapi", "aiohttp", "httpx", "bentoml._internal.cloud", "circus", "rich"
        print(*(name for name in heavy if name in sys.modules))
    """
    lines = "\n".join(line.strip() for line in program.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", lines, which],
        cwd=ROOT,
        env={**os.environ, DIRECTORY_VARIABLE: "/"},
        capture_output=True,
        text=True,
        check=False,
    )
    names = "" if which == "ours" else "aiohttp httpx bentoml._internal.cloud circus rich"
    assert done.stdout.strip() == names, done.stderr
