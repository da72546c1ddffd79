"""`python -m tests.fuzz --inputs 1000000 --seed 7`: damaged binlogs through the decoder, until one is read wrongly.

Every input is made of the seed and its number alone: one that is reported is tried again by
`--seed 7 --first N --inputs 1`.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Final

from tests.fuzz.inputs import fault

AT_ONCE: Final = 20_000
"""Inputs of one piece of work."""
MEMORY: Final = 2**30
"""No damage may make a decoder ask for more (bytes)."""
SHOWN: Final = 20


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def _faults(seed: int, first: int, behind: int) -> list[tuple[int, str]]:
    return [(number, found) for number in range(first, behind) if (found := fault(seed, number)) is not None]


def main() -> int:
    """Returns 1 where an input was read wrongly."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    end = given.first + given.inputs
    began, done, wrong = time.monotonic(), 0, 0
    with ProcessPoolExecutor(given.processes, initializer=_limit) as pool:
        parts = {
            pool.submit(_faults, given.seed, at, min(at + AT_ONCE, end)): min(AT_ONCE, end - at)
            for at in range(given.first, end, AT_ONCE)
        }
        for part in as_completed(parts):
            done += parts[part]
            for number, found in part.result():
                wrong += 1
                if wrong <= SHOWN:
                    print(f"seed {given.seed}, input {number}: {found}", flush=True)
            rate = done / (time.monotonic() - began)
            print(f"{done:,} inputs, {wrong} read wrongly, {rate:,.0f}/s", file=sys.stderr, flush=True)
    print(f"seed {given.seed}: {done:,} inputs, {wrong} read wrongly")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
