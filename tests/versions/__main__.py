"""`python -m tests.versions [mariadb-11.8 …]`: every combination, or those named, and the page that tells of them."""

from __future__ import annotations

import argparse
import sys

from deploy.reference import versions as page
from deploy.reference.pages import FOLDER
from tests.servers import ServerError
from tests.servers.places import say
from tests.versions.plan import COMBINATIONS
from tests.versions.results import keep
from tests.versions.run import line, run


def main() -> int:
    """Runs them one after the other; the exit status is 1 where a test failed or a server could not be had."""
    names = [combination.key for combination in COMBINATIONS]
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all if none is named")
    parser.add_argument("--core", action="store_true", help="only the tests that look most closely and take least")
    options = parser.parse_args()
    wanted = options.names or names
    for name in wanted:
        if name not in names:
            parser.error(f"there is no {name}; there are {', '.join(names)}")
    failed = False
    for combination in COMBINATIONS:
        if combination.key not in wanted:
            continue
        tests = combination.core if options.core else combination.tests
        say(f"{combination.name}: {', '.join(tests)}")
        try:
            outcome = {**run(combination, tests), "core": options.core}
        except ServerError as error:
            say(f"{combination.name}: {error}")
            failed = True
            continue
        keep(combination.name, outcome)
        (FOLDER / "versions.md").write_text(page.page(), encoding="utf-8")
        say(line(combination.name, outcome))
        failed = failed or bool(outcome.get("failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
