"""Every command is fed garbage: it ends with one line that helps, and never with a traceback."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from rich.table import Table

from tiffin import __version__
from tiffin.cli.main import SUBCOMMANDS, main
from tiffin.cli.progress import print_table
from tiffin.cli.serve import summary
from tiffin.config.settings import load_settings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("TIFFIN_", "BENTOML_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TIFFIN_HOME", str(tmp_path / "home"))


def tiffin(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(main, words, env=environment, prog_name="tiffin")


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that there is, the subcommands of groups too."""
    if not isinstance(command, click.Group):
        yield words
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, (*words, name))


COMMANDS = sorted(leaves(main))


def ends_well(result: Result) -> str:
    """Check that a failure is one line; give that line."""
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    line = result.output.strip().splitlines()[-1]
    assert line.startswith("Error: "), result.output
    return line


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_needs_no_settings(words: tuple[str, ...]) -> None:
    result = tiffin(*words, "--help", TIFFIN_PROFILE="nonsense", TIFFIN_NO_SUCH="1")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage: tiffin")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_unknown_option_is_one_line(words: tuple[str, ...]) -> None:
    assert "--garbage" in ends_well(tiffin(*words, "--garbage"))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_speaks_json_and_so_do_its_failures(words: tuple[str, ...]) -> None:
    result = tiffin(*words, "--json", "--garbage")
    assert result.exit_code == 2
    assert "--garbage" in json.loads(result.stdout)["error"]


NOBODY = "http://127.0.0.1:1"

GARBAGE = [
    ("bench", "--url", NOBODY),
    ("bench", "--mix", "question=many"),
    ("bench", "--mix", "songs=1"),
    ("bench", "--mix", "chat=0"),
    ("cache", "--url", "not an address", "stats"),
    ("cache", "--url", "http://[", "stats"),
    ("cache", "--url", NOBODY, "clear"),
    ("corpus", "--url", NOBODY, "list"),
    ("corpus", "--url", NOBODY, "reembed", "x"),
    ("eval", "retrieval", "{folder}", "--url", NOBODY),
    ("ingest", "{file}", "--corpus", "x", "--url", NOBODY),
    ("safety", "calibrate", "{file}", "--url", NOBODY),
    ("costs", "--by", "colour"),
    ("costs", "--since", "someday"),
    ("costs", "--ledger", "{file}"),
    ("costs", "--ledger", "{folder}/nowhere.sqlite3"),
    ("costs", "--ledger", "postgresql://"),
    ("deploy", "render", "--target", "kubernetes", "--output", "{file}/below"),
    ("deploy", "simulate", "Nobody"),
    ("deploy", "simulate", "RAG", "--log", "{file}"),
    ("deploy", "start", "Nobody"),
    ("deploy", "start", "Embedding"),
    ("keys", "list"),
    ("keys", "--file", "{file}", "list"),
    ("keys", "--file", "{file}/below", "create", "app"),
    ("keys", "--file", "{folder}/new.json", "revoke", "nobody"),
    ("models", "pull", "gpt"),
    ("models", "verify", "gpt"),
    ("models", "quantize", "gpt"),
    ("models", "pull", "--profile", "nonsense"),
    ("plan", "--gpus", "many"),
    ("plan", "--model", "colour=red"),
    ("plan", "--catalog", "{file}"),
    ("plan", "--profile", "nonsense"),
    ("restore", "{file}"),
    ("router", "replay", "--policy", "auto", "--ledger", "{folder}/nowhere.sqlite3"),
    ("router", "replay", "--policy", "nonsense"),
    ("serve", "--port", "99999"),
    ("serve", "--host", "not an address"),
    ("serve", "--profile", "nonsense"),
    ("serve", "--host", "0.0.0.0"),  # noqa: S104  refused: there are no keys
    ("settings", "--profile", "nonsense"),
]


@pytest.mark.parametrize("words", GARBAGE, ids=" ".join)
def test_garbage_is_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "garbage"
    file.write_bytes(b"\xff\x00{[: no")
    given = [word.format(file=file, folder=tmp_path) for word in words]
    ends_well(tiffin(*given))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TIFFIN_PROFILE", "nonsense"),
        ("TIFFIN_PROVIDERS", "{"),
        ("TIFFIN_RAG__TOP_K", "many"),
        ("TIFFIN_NO_SUCH", "1"),
    ],
)
@pytest.mark.parametrize("words", [("serve",), ("settings",), ("models", "list"), ("costs",)])
def test_a_wrong_variable_is_named(words: tuple[str, ...], variable: str, value: str) -> None:
    assert variable in ends_well(tiffin(*words, **{variable: value}))


@pytest.mark.parametrize("name", ["TIFFIN_URL", "TIFFIN_API_KEY"])
def test_variables_of_clients_do_not_stop_a_server(name: str) -> None:
    assert tiffin("settings", **{name: "http://localhost:3000"}).exit_code == 0


ASKING = [
    words for words in COMMANDS if words[0] in {"cache", "corpus", "eval", "ingest", "safety"}
]


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_clients_read_the_server_and_the_key_from_their_variables(words: tuple[str, ...]) -> None:
    shown = tiffin(*(words[:1] if words[0] in {"cache", "corpus"} else words), "--help").output
    assert "TIFFIN_URL" in shown
    assert "TIFFIN_API_KEY" in shown
    assert "http://localhost:3000" in shown


def test_a_server_that_is_away_is_named_with_what_starts_one() -> None:
    said = ends_well(tiffin("cache", "stats", TIFFIN_URL=NOBODY))
    assert NOBODY in said
    assert "`tiffin serve`" in said


def test_a_misspelt_command_is_suggested() -> None:
    assert "'serve'" in ends_well(tiffin("serv"))
    assert all(name in ends_well(tiffin("xyzzy")) for name in SUBCOMMANDS)


def test_a_failure_is_json_if_a_program_asked_for_json() -> None:
    result = tiffin("models", "list", "--json", TIFFIN_PROFILE="nonsense")
    assert result.exit_code == 1
    assert "nonsense" in json.loads(result.stdout)["error"]


def test_the_version_is_printed() -> None:
    assert tiffin("--version").output == f"tiffin {__version__}\n"


def test_a_port_in_use_is_said_before_anything_is_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "--port" in ends_well(tiffin("serve", "--port", port))
        found = json.loads(tiffin("doctor", "--json", "--port", port).stdout)
    assert found[-1]["name"] == "port"
    assert found[-1]["verdict"] == "fails"


def test_the_start_says_in_one_line_what_differs_from_the_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TIFFIN_HOME")
    monkeypatch.setenv("TIFFIN_PROFILE", "laptop")
    monkeypatch.setenv("TIFFIN_RAG__TOP_N", "3")
    monkeypatch.setenv("TIFFIN_INTERNAL__TOKEN", "a secret of some length")
    assert summary(load_settings()) == (
        f"Tiffin {__version__}, profile laptop, TIFFIN_INTERNAL__TOKEN=..., TIFFIN_RAG__TOP_N=3"
    )


@pytest.mark.parametrize("width", [40, 80, 300])
def test_a_table_never_cuts_a_cell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal then
    name = "a-name-of-a-model-that-is-rather-long"
    table = Table("name", *(f"column {number}" for number in range(6)))
    table.add_row(name, *["word " * 3] * 6)
    print_table(table)
    printed = capsys.readouterr().out
    assert name in printed
    assert "…" not in printed
