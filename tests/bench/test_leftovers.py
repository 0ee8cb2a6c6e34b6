"""A benchmark leaves no process and no file behind, even if it is told to end."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

BENCHMARK = """
import signal, subprocess, tempfile, time
from bench import leftovers

leftovers.GRACE_S = 0.1
signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background
ORPHAN = "trap '' TERM INT; sleep 60 > /dev/null & echo $!"
with leftovers.nothing_left():
    done = subprocess.run(["sh", "-c", ORPHAN], stdout=subprocess.PIPE, start_new_session=True)
    print(done.stdout.decode().strip(), tempfile.mkdtemp(), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_benchmark_started_ends_with_it(number: signal.Signals) -> None:
    command = [sys.executable, "-c", BENCHMARK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        orphan, folder = process.stdout.readline().decode().split()
        assert psutil.pid_exists(int(orphan))
        process.send_signal(number)
        assert process.wait(20)
    assert not psutil.pid_exists(int(orphan))
    assert not Path(folder).exists()
