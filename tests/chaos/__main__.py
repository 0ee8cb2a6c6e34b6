"""`python -m tests.chaos [--short] [--report FILE] [TEST]...`: run the tests, print their table.

Exits with 1 when a figure is missed, unless `--report` writes what was seen to a file.
"""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos import stack_rows, stand_rows
from tests.chaos.row import Row, table
from tests.chaos.stand import running_stand
from tests.support.stack import running_stack

KILLS = "kills"
NAMES = (*stand_rows.TESTS, KILLS)

HEAD = """# Reliability: what was broken, and what clients saw

Written by `make chaos` (`python -m tests.chaos --report docs/reliability.md`); every row is
measured by tests/chaos, with real processes, on one machine that also runs the load generator.
Latency counts from when a request should have left. A figure that was missed says so.
"""

RUN = """
## {command}

{when}, {cpu} cores, load average {load:.1f} when it began{note}.

"""

BUSY = " (other programs were using the machine: times are longer than on a quiet one)"


async def run(names: list[str], size: stand_rows.Size) -> list[Row]:
    """The rows of the tests named, in the order of the table."""
    rows: list[Row] = []
    stand_tests = [name for name in stand_rows.TESTS if name in names]
    with tempfile.TemporaryDirectory(prefix="tiffin-chaos-") as directory:
        if stand_tests:
            async with running_stand(Path(directory)) as stand:
                for name in stand_tests:
                    rows += shown(await stand_rows.TESTS[name](stand, size))
        if KILLS in names:
            home = Path(directory) / "stack"
            home.mkdir()
            with running_stack(home, BENTOML_CONTAINERIZED="true") as stack:
                rows += shown(await stack_rows.kills(stack, size.kill_rounds))
    return rows


def shown(rows: list[Row]) -> list[Row]:
    """Print rows as they come."""
    for row in rows:
        print(" | ".join(row.cells()), flush=True)
    return rows


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("tests", nargs="*", metavar="TEST", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--short", action="store_true", help="under five minutes")
    parser.add_argument("--report", type=Path, help="write the table to this Markdown file")
    parser.add_argument("--lenient", action="store_true", help="do not fail on figures of speed")
    parser.add_argument("--append", action="store_true", help="to the report; keep what is there")
    parser.add_argument("--kill-rounds", type=int, help="each kills or stops every service once")
    parser.add_argument("--soak-s", type=float, help="length of the soak in seconds")
    options = parser.parse_args()
    if unknown := set(options.tests) - set(NAMES):
        parser.error(f"no test {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
    load, cpu = os.getloadavg()[0], os.cpu_count() or 1
    size = stand_rows.SHORT if options.short else stand_rows.LONG
    given = {"kill_rounds": options.kill_rounds, "soak_s": options.soak_s}
    size = replace(size, **{name: value for name, value in given.items() if value is not None})
    rows = asyncio.run(run(options.tests or list(NAMES), size))
    run_head = RUN.format(
        when=f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()}",
        cpu=cpu,
        load=load,
        note=BUSY if load > cpu / 2 else "",
        command=" ".join(["python -m tests.chaos", *sys.argv[1:]]),
    )
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        before = options.report.read_text() if options.append else HEAD
        options.report.write_text(before + run_head + table(rows) + "\n")
    print(table(rows))
    missed = [row.test for row in rows if (row.wrong() if options.lenient else row.missed)]
    if missed and not options.report:
        raise SystemExit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
