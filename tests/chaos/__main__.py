"""`python -m tests.chaos [--short] [--report FILE] [TEST]...`: run the tests, print their table.

Exits with 1 when a figure is missed, unless `--report` writes what was seen to a file. Ctrl-C ends
it with everything that it started stopped, and what was seen so far written.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.chaos.report import Report
from tests.chaos.running import NAMES, SELDOM, run
from tests.chaos.size import LONG, SHORT, Size

INTERRUPTED = 130


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("tests", nargs="*", metavar="TEST", help=f"of: {', '.join(NAMES)}")
    parser.add_argument(
        "--short",
        action="store_true",
        help="under six minutes, without the tests that rarely break",
    )
    parser.add_argument("--report", type=Path, help="write the table to this Markdown file")
    parser.add_argument("--lenient", action="store_true", help="do not fail on figures of speed")
    parser.add_argument("--append", action="store_true", help="to the report; keep what is there")
    parser.add_argument("--kill-rounds", type=int, help="each kills or stops every service once")
    parser.add_argument("--soak-s", type=float, help="length of the soak in seconds")
    options = parser.parse_args()
    if unknown := set(options.tests) - set(NAMES):
        parser.error(f"no test {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
    size = SHORT if options.short else LONG
    given = {"kill_rounds": options.kill_rounds, "soak_s": options.soak_s}
    size = replace(size, **{name: value for name, value in given.items() if value is not None})
    report = Report(options.report)
    report.open(" ".join(["python -m tests.chaos", *sys.argv[1:]]), append=options.append)
    finished = False
    try:
        every = [name for name in NAMES if not (options.short and name in SELDOM)]
        asyncio.run(_interruptible(options.tests or every, size, report))
        finished = True
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(INTERRUPTED) from None
    finally:
        report.close(finished=finished)
    missed = [row.test for row in report.rows if (row.wrong() if options.lenient else row.missed)]
    if missed and not options.report:
        raise SystemExit(f"missed: {'; '.join(missed)}")


async def _interruptible(names: Sequence[str], size: Size, report: Report) -> None:
    """SIGTERM ends it as Ctrl-C does: by cancellation, which stops what was started."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run(names, size, report)


if __name__ == "__main__":
    main()
