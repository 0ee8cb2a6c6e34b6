"""How the command line reads spans and points of time: `90d`, `24h`, `30m`, or a day."""

import datetime as dt
import re
import time

import click

_SPAN = re.compile(r"(\d{1,6})([dhm])")
_UNITS = {"d": 86_400, "h": 3_600, "m": 60}


class Span(click.ParamType[int]):
    """A span such as `90d`, as seconds."""

    name = "span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The seconds, or a usage error."""
        if isinstance(value, int):
            return value
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no span of time; use 90d, 24h or 30m", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


class Moment(Span):
    """The end of a span from now, or the beginning of a UTC day, as a Unix time."""

    name = "moment"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The time, or a usage error."""
        if isinstance(value, int):
            return value
        if _SPAN.fullmatch(str(value)):
            return int(time.time()) + super().convert(value, param, ctx)
        try:
            day = dt.date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; use 90d, 24h or a day: 2027-01-31", param, ctx)
        return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())
