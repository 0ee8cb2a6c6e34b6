"""`python -m tests.compat [--report FILE] [CLIENT]...`: try the clients against a real stack.

Exits with 1 when a call does other than its script says.
"""

import argparse
import tempfile
from pathlib import Path

from tests.compat.report import ALL, page, run
from tests.support.stack import running_stack


def main() -> None:
    """Start the stack, run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of: {', '.join(ALL)}")
    parser.add_argument("--report", type=Path, help="write the page to this Markdown file")
    options = parser.parse_args()
    if unknown := set(options.clients) - set(ALL):
        parser.error(f"no client {', '.join(sorted(unknown))}; there are: {', '.join(ALL)}")
    with (
        tempfile.TemporaryDirectory(prefix="tiffin-compat-") as directory,
        running_stack(Path(directory)) as stack,
    ):
        verdicts = run(stack.url, options.clients or ALL)
    written = page(verdicts)
    print(written)
    if surprises := [verdict for verdict in verdicts if verdict.surprise]:
        named = "; ".join(f"{one.client}: {one.call}" for one in surprises)
        raise SystemExit(f"{len(surprises)} of {len(verdicts)} not as expected: {named}")
    if options.report:
        options.report.write_text(written)


if __name__ == "__main__":
    main()
