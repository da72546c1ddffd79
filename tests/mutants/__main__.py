"""`python -m tests.mutants leads`: how many faults put into a part of the code its unit tests find.

Writes what survived into tests/mutants/results, one file a part.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

os.environ["CI"] = "1"  # property tests repeat themselves

from tests.mutants.faults import mutants_of
from tests.mutants.trial import SURVIVED, try_mutants


class Part(NamedTuple):
    """Files, and the tests that are to find faults in them."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


PARTS: Final = {
    "leads": Part(("consumer/leads",), ("tests/unit/leads", "tests/unit/reconciler/runs", "tests/unit/applier")),
    "repair": Part(("reconciler/runs/repair.py", "reconciler/runs/drift.py"), ("tests/unit/reconciler/runs",)),
    "sequencer": Part(("consumer/reader/sequencer.py",), ("tests/unit/reader",)),
    "merge": Part(
        ("consumer/applier/lane_merge.py", "consumer/applier/gaps.py", "consumer/applier/replay.py"),
        ("tests/unit/applier",),
    ),
    "rows": Part(("consumer/binlog/rows.py",), ("tests/unit/binlog",)),
}
SEED: Final = 18
MOST: Final = 200
"""Mutants of one file that are tried unless more are asked for: a sample at random, always the same."""
RESULTS: Final = Path(__file__).with_name("results")


def main() -> None:
    """Tries the mutants of the parts named, or of all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--most", type=int, default=MOST, help="mutants of one file at the most")
    parser.add_argument("--only", default="", help="only files whose path holds this")
    parser.add_argument("--examples", action="store_true", help="without property tests, which take most of the time")
    parser.add_argument("--children", type=int, default=2)
    given = parser.parse_args()
    for name in given.parts:
        part = PARTS[name]
        files = [
            path
            for file in part.files
            for path in sorted(Path(file).rglob("*.py") if Path(file).is_dir() else [Path(file)])
        ]
        mutants, there = [], {}
        for path in files:
            if given.only in str(path):
                found, there[path] = mutants_of(path, given.most, SEED)
                mutants += found
        fates = try_mutants(mutants, [Path(test) for test in part.tests], given.children, examples_only=given.examples)
        lines = []
        for path, count in there.items():
            module = ".".join(path.with_suffix("").parts)
            ends = Counter(fate for mutant, fate in fates.items() if mutant.module == module)
            tried = ends.total()
            if tried:
                died = tried - ends[SURVIVED]
                lines.append(f"{path}: {died} of {tried} died ({died / tried:.1%}); {count} there are")
        lines += [f"{fate}: {mutant.name}" for mutant, fate in fates.items() if fate == SURVIVED]
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}{given.only.replace('/', '.')}.txt").write_text("\n".join(lines) + "\n")
        print("\n".join(lines))


if __name__ == "__main__":
    main()
