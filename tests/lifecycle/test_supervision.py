"""When a process counts as stopped, hung or unable to start."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from tiffin.config.resilience import SupervisionSettings
from tiffin.lifecycle.supervision import Watch, beat, last_beat, restart_delay_s, waited_ms

LIMITS = SupervisionSettings(tick_ms=250, stopped_after_ms=1000, hung_after_ms=2000)


def test_a_process_that_gives_its_sign_is_left_alone() -> None:
    watch = Watch(LIMITS)
    assert [watch.look(250, stopped=False, beat=float(n)) for n in range(100)] == [None] * 100


def test_a_stopped_process_is_replaced_after_a_second() -> None:
    watch = Watch(LIMITS)
    watch.look(250, stopped=False, beat=1.0)
    verdicts = [watch.look(250, stopped=True, beat=1.0) for _ in range(4)]
    assert verdicts == [None, None, None, "was stopped"]


def test_a_process_whose_loop_hangs_is_replaced_and_one_that_loads_is_not() -> None:
    hung, loading = Watch(LIMITS), Watch(LIMITS)
    hung.look(250, stopped=False, beat=1.0)
    verdicts = [hung.look(250, stopped=False, beat=1.0) for _ in range(8)]
    assert verdicts[-1] == "gave no sign for 2.0 s"
    assert verdicts[:-1] == [None] * 7
    assert [loading.look(250, stopped=False, beat=None) for _ in range(40)] == [None] * 40


def test_when_the_whole_machine_stood_still_nobody_is_blamed() -> None:
    watch = Watch(LIMITS)
    watch.look(250, stopped=False, beat=1.0)
    assert watch.look(60_000, stopped=False, beat=1.0) is None


def test_a_process_that_waits_for_a_core_does_not_hang() -> None:
    starved, hung = Watch(LIMITS), Watch(LIMITS)
    for second in range(40):
        waited_ms = second * 230.0
        assert starved.look(250, stopped=False, beat=1.0, waited_ms=waited_ms) is None
    verdicts = [hung.look(250, stopped=False, beat=1.0, waited_ms=100.0) for _ in range(9)]
    assert verdicts[-1] == "gave no sign for 2.0 s"


def test_two_that_share_a_core_wait_for_it() -> None:
    busy = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
    pair = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(2)]
    try:
        within_s = time.monotonic() + 20
        while not all(waited_ms(one.pid) > 50 for one in pair):
            assert time.monotonic() < within_s
            time.sleep(0.01)
    finally:
        for one in pair:
            one.kill()
            one.wait()
    assert waited_ms(pair[0].pid) == 0, "it is gone"


def test_a_process_that_never_becomes_ready_is_given_up() -> None:
    watch = Watch(SupervisionSettings(start_limit_s=1))
    verdicts = [watch.look(250, stopped=False, beat=None) for _ in range(4)]
    assert verdicts[-1] == "was not ready after 1 s"


def test_restarts_that_fail_come_ever_slower() -> None:
    assert [restart_delay_s(failures) for failures in (0, 1, 2, 5, 50)] == [0, 1, 2, 16, 30]


async def test_the_sign_goes_on_while_the_event_loop_runs(tmp_path: Path) -> None:
    assert last_beat(tmp_path, os.getpid()) is None
    beating = asyncio.create_task(beat(tmp_path, LIMITS))
    signs: set[float] = set()
    async with asyncio.timeout(20):
        while len(signs) < 3:
            await asyncio.sleep(0.01)
            if sign := last_beat(tmp_path, os.getpid()):
                signs.add(sign)
    beating.cancel()
