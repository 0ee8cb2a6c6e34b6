"""`tiffin safety calibrate` chooses the rate from what a server says of harmless texts."""

import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from tiffin.cli.main import main
from tiffin.safety.heads import Head


class Moderations(BaseHTTPRequestHandler):
    """One text in ten gets a score just above the threshold of the rate 0.005."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        high = Head.shipped("injection").threshold(0.005) + 1e-4
        results = [
            {"category_scores": {"hate": 0, "harassment": 0, "injection": high * ("x" in text)}}
            for text in body["input"]
        ]
        answer = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def url() -> Generator[str, None, None]:
    server = HTTPServer(("127.0.0.1", 0), Moderations)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(*words: str) -> str:
    result = CliRunner().invoke(main, ["safety", "calibrate", *words])
    return result.output


def test_the_highest_rate_that_flags_few_enough_is_named(url: str, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("harmless\n" * 9 + "x\n")
    assert "TIFFIN_SAFETY__FALSE_POSITIVES=0.002" in run(str(texts), "--url", url)
    assert "FALSE_POSITIVES=0.1" in run(str(texts), "--url", url, "--wanted", "0.2")


def test_a_file_without_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    assert "write one harmless text on each line" in run(str(tmp_path / "empty.txt"))
