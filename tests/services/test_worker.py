"""What a worker's process leaves out, and that it comes back when it is used after all."""

import sys
from typing import Any

import pytest

from services.bento.worker import NoProxy, Unused, put_off

NAME = "this"
"""A module of Python that nothing imports."""


def test_a_module_that_is_put_off_is_imported_when_something_of_it_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    put_off((NAME,))
    from this import d, s

    assert type(sys.modules[NAME]) is Unused
    assert capsys.readouterr().out == ""
    assert d.get("N") == "A"
    assert "Zen of Python" in capsys.readouterr().out
    assert type(sys.modules[NAME]) is not Unused
    assert s.startswith("Gur Mra")


def test_what_is_imported_already_is_left_alone() -> None:
    put_off(("sys",))
    assert sys.modules["sys"] is sys


def test_who_calls_a_service_by_bentoml_is_told_what_to_call_it_by() -> None:
    method: Any = NoProxy("http://x", service=None).as_service().embed
    method.local = None  # as BentoML does
    with pytest.raises(NotImplementedError, match=r"embed: call the service by tiffin\.transport"):
        method()
