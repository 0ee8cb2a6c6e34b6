"""The limit of one service follows how fast it answers."""

from contextlib import ExitStack

import pytest

from tiffin.core.errors import DeadlineExceeded, Overloaded
from tiffin.traffic.limiter import Limiter


def calls(limiter: Limiter, count: int, took_s: float) -> None:
    """That many at once, as many as are let in, all of which take so long."""
    with ExitStack() as stack:
        for _ in range(min(count, limiter.limit)):
            sample = stack.enter_context(limiter.place())
            sample.took_s = took_s


def test_it_grows_while_calls_take_no_longer_than_they_did() -> None:
    limiter = Limiter("calls", initial=16, most=100)
    for _ in range(50):
        calls(limiter, 200, 0.01)
    assert limiter.limit > 60


def test_it_falls_when_calls_queue_and_recovers_when_they_do_not() -> None:
    limiter = Limiter("calls", initial=64, most=64)
    calls(limiter, 64, 0.01)
    for _ in range(3):
        calls(limiter, 64, 0.2)
    low = limiter.limit
    assert low < 20
    for _ in range(100):
        calls(limiter, 64, 0.01)
    assert limiter.limit == 64


def test_few_callers_say_nothing_about_the_limit() -> None:
    limiter = Limiter("calls", initial=32)
    for took_s in (0.01, 5.0, 0.01, 5.0):
        calls(limiter, 1, took_s)
    assert limiter.limit == 32


def test_over_the_limit_nothing_is_sent_and_the_place_comes_back_after_a_failure() -> None:
    limiter = Limiter("calls", least=1, initial=1)
    with limiter.place(), pytest.raises(Overloaded, match="the limit is now 1"), limiter.place():
        pass
    with pytest.raises(DeadlineExceeded), limiter.place():
        raise DeadlineExceeded("late")
    assert limiter.in_flight == 0


def test_a_tenant_s_flood_leaves_the_others_their_share() -> None:
    limiter = Limiter("calls", least=4, initial=4)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(limiter.place("flood"))
        for _ in range(2):
            stack.enter_context(limiter.place("quiet"))
        for tenant in ("flood", "quiet"):
            with pytest.raises(Overloaded), limiter.place(tenant):
                pass
        assert limiter.in_flight == 6
    with ExitStack() as stack:
        for number in range(100):
            try:
                stack.enter_context(limiter.place(f"tenant {number}"))
            except Overloaded:
                break
        assert limiter.in_flight <= 2 * limiter.limit, "however many tenants there are"
