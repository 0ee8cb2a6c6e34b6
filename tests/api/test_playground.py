"""The page at `/`: complete, self-contained, small, and open where the API needs a key."""

import gzip
import re
from importlib.resources import files
from pathlib import Path

import pytest

from tests.support.services import Services, entry
from tiffin.config.settings import Settings, load_settings
from tiffin.traffic.key_file import KeyFile

FOLDER = Path(str(files("tiffin") / "playground"))
FILES = sorted(path.name for path in FOLDER.iterdir())
FIRST_LOAD_BYTES = 150_000


async def test_every_file_that_the_page_names_is_served(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        page = await client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        wanted = set(re.findall(r'(?:src|href)="(playground/[^"]+)"', page.text))
        seen: set[str] = set()
        while wanted - seen:
            path = min(wanted - seen)
            seen.add(path)
            file = await client.get(f"/{path}")
            assert file.status_code == 200, path
            if path.endswith(".js"):
                assert "javascript" in file.headers["content-type"]
                imported = re.findall(r'from "\./([\w.-]+)"', file.text)
                wanted |= {f"playground/{name}" for name in imported}
    assert {path.removeprefix("playground/") for path in seen} == set(FILES) - {"index.html"}


async def test_the_browser_is_told_to_ask_no_one_else(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        for path in ("/", "/playground/app.js"):
            headers = (await client.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
            assert headers["x-content-type-options"] == "nosniff"


def test_nothing_in_the_files_needs_more_than_that_policy() -> None:
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", page)
    for name in FILES:
        text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|innerHTML|\beval\(", text), name


def test_the_first_load_is_small() -> None:
    assert sum(len(gzip.compress((FOLDER / name).read_bytes())) for name in FILES) < (
        FIRST_LOAD_BYTES
    )


async def test_a_browser_that_has_a_file_is_not_sent_it_again(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        first = await client.get("/playground/style.css")
        again = await client.get(
            "/playground/style.css", headers={"if-none-match": first.headers["etag"]}
        )
    assert (again.status_code, again.content) == (304, b"")


async def test_the_page_learns_what_is_served(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        about = (await client.get("/v1/playground")).json()
    assert [choice["name"] for choice in about["models"]][:2] == ["auto", "quote"]
    assert {"name": "small", "model": "model-small"} in about["models"]
    budgets = {stage["name"]: stage["budget_ms"] for stage in about["stages"]}
    assert budgets["embed"] == settings.resilience.budget.embed_ms
    assert [stage["name"] for stage in about["stages"] if stage["beside"]] == ["route"]
    assert about["limits"]["query_chars"] == settings.limits.query_chars


@pytest.mark.parametrize("path", ["/", "/playground/app.js", "/docs", "/openapi.json"])
async def test_with_keys_the_pages_are_open_and_the_api_is_not(
    services: Services, tmp_path: Path, path: str
) -> None:
    keys = tmp_path / "keys.json"
    guarded = load_settings(profile="laptop", access={"keys_file": keys})
    bearer = {"authorization": f"Bearer {KeyFile(keys).create('app')}"}
    async with entry(services, guarded) as client:
        assert (await client.get(path)).status_code == 200
        assert (await client.head(path)).status_code == 200
        assert (await client.post(path)).status_code == 401
        assert (await client.get("/v1/playground")).status_code == 401
        assert (await client.get("/v1/playground", headers=bearer)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/playground/%2e%2e/__init__.py", "/playground/..%2fapi%2fapp.py"]
)
async def test_nothing_outside_of_the_folder_is_a_file_of_the_page(
    services: Services, settings: Settings, path: str
) -> None:
    async with entry(services, settings) as client:
        response = await client.get(path)
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"
