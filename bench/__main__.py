"""`python -m bench [--busy | --try] [NAME]...`: run the benchmarks named, or all; print the tables.

A result is also kept in `bench/results`, with the machine it is from, and put into
docs/performance.md where that has a place for it. A machine that does other work is refused, unless
`--busy` says that this is known; such a result is only printed. `--try` takes as few rounds as
possible on any machine, to see that a benchmark and its peers work; its figures mean nothing.
"""

import argparse
import importlib
import sys
from pathlib import Path

from bench.leftovers import nothing_left
from bench.machine import BUSY_PERCENT, busy, described

NAMES = (
    "hop",
    "start",
    "encoders",
    "question",
    "whole",
    "gateway",
    "streaming",
    "servers",
    "simulation",
    "cache",
)
TRIAL = {"ROUNDS": 2, "WARM_UP": 1, "WINDOWS": 1, "WINDOW_S": 5, "MAX_TOKENS": 8}
RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def main() -> None:
    """Run them in order."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--busy", action="store_true", help="measure on a busy machine, too")
    parser.add_argument("--try", action="store_true", dest="trial", help="see that it works")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        message = f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}"
        raise SystemExit(message)
    with nothing_left():
        _measure(options)


def _measure(options: argparse.Namespace) -> None:
    for name in options.names or NAMES:
        percent = busy()
        if percent is not None and not options.busy and not options.trial:
            message = (
                f"other work takes {percent:.0f} % of the cores (limit {BUSY_PERCENT}): end it, or "
                "measure nevertheless with --busy"
            )
            raise SystemExit(message)
        print(f"{name} ...", file=sys.stderr)  # noqa: T201
        module = importlib.import_module(f"bench.{name}")
        if options.trial:
            for constant, few in TRIAL.items():
                if hasattr(module, constant):
                    setattr(module, constant, few)
        text = str(module.run()).strip()
        print(f"{text}\n")  # noqa: T201
        if percent is None and not options.trial:
            keep(name, f"{text}\n\n*{described()}.*\n")


def keep(name: str, text: str, *, results: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the result to its file, and between its two marks in the page if there are any."""
    results.mkdir(exist_ok=True)
    (results / f"{name}.md").write_text(text, encoding="utf-8")
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- bench {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if begin and end:
        page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
