"""What was spent this month, by tenant and key. The ledger writes it down, budgets ask it.

Days that are over do not change, so they are read once; today is read again while replicas share a
ledger. What this process has spent and not yet committed counts too.
"""

import datetime as dt
import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tiffin.core.messages import Spent

SUMS = (
    "SELECT day, tenant, key, SUM(usd) FROM attempts WHERE day >= ? AND day <= ? GROUP BY 1, 2, 3"
)


class Whose(NamedTuple):
    """The UTC day, such as 2026-01-31, or a month, and who spent."""

    day: str
    tenant: str
    key: str


def day_of(at: float) -> str:
    """The UTC day of a time in seconds of the Unix epoch."""
    return dt.datetime.fromtimestamp(at, dt.UTC).date().isoformat()


class Spending:
    """Sums of the month; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._earlier: dict[Whose, float] = {}
        self._written: dict[Whose, float] = {}
        self._waiting: dict[Whose, float] = defaultdict(float)
        self.read_on = ""
        """The day on which `earlier` was read; empty before."""

    def put_off(self, whose: Whose, usd: float) -> None:
        """It is spent, and not yet committed."""
        with self._lock:
            self._waiting[whose] += usd

    def committed(self, rows: Iterable[tuple[Whose, float]]) -> None:
        """What was put off is committed (or lost, and spent all the same)."""
        with self._lock:
            for whose, usd in rows:
                self._waiting[whose] -= usd
                self._written[whose] = self._written.get(whose, 0.0) + usd

    def read(
        self,
        today: str,
        rows: Iterable[tuple[object, ...]],
        *,
        earlier: Iterable[tuple[object, ...]],
    ) -> None:
        """Take over what the ledger has of today and, where it was read too, of earlier days."""
        with self._lock:
            if self.read_on != today:
                self._earlier = _of_months(earlier, but=today)
                self.read_on = today
            self._written = _sums(rows)
            self._waiting = defaultdict(float, {k: usd for k, usd in self._waiting.items() if usd})

    def of(self, tenant: str, key: str, at: float) -> Spent:
        """The sums as of a time, which says which day and month it is."""
        today = day_of(at)
        month = today[:7]
        with self._lock:
            parts = (self._earlier, self._written, self._waiting)
            rows = [row for part in parts for row in part.items() if row[0].day[:7] == month]
        mine = [(whose, usd) for whose, usd in rows if whose.key == key]
        tenants = [(whose, usd) for whose, usd in rows if whose.tenant == tenant]
        return Spent(
            key_usd=_on(today, mine),
            key_month_usd=_on(month, mine),
            tenant_usd=_on(today, tenants),
            tenant_month_usd=_on(month, tenants),
            day_usd=_on(today, rows),
            at=at,
        )


def _sums(rows: Iterable[tuple[object, ...]]) -> dict[Whose, float]:
    return {Whose(str(day), str(who), str(key)): float(str(usd)) for day, who, key, usd in rows}


def _of_months(rows: Iterable[tuple[object, ...]], but: str) -> dict[Whose, float]:
    """The sums of months, such as 2026-01, without one day: each request walks over them."""
    sums: dict[Whose, float] = defaultdict(float)
    for whose, usd in _sums(rows).items():
        if whose.day != but:
            sums[whose._replace(day=whose.day[:7])] += usd
    return dict(sums)


def _on(when: str, rows: Iterable[tuple[Whose, float]]) -> float:
    """The sum of a day, or of a month, by how the day begins."""
    return sum(usd for whose, usd in rows if whose.day.startswith(when))
