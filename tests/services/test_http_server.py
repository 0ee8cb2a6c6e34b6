"""How the services' HTTP server ends."""

import subprocess
import sys
import textwrap
import time

from tests.support.stack import free_port


def test_a_signal_ends_an_idle_server_at_once() -> None:
    program = f"""
        import uvicorn
        from services.bento.http_server import QuietServer

        async def app(scope, receive, send):
            pass

        QuietServer(uvicorn.Config(app, port={free_port()}, lifespan="off")).run()
    """
    arguments = [sys.executable, "-c", textwrap.dedent(program)]
    took_s = []
    for _ in range(3):
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            while "running on" not in process.stderr.readline():
                assert process.poll() is None
            time.sleep(0.2)  # between two looks
            began = time.monotonic()
            process.terminate()
            process.communicate(timeout=20)
            took_s.append(time.monotonic() - began)
    assert min(took_s) < 0.5, "and not when it looks next, once a second"
