"""`python -m tests.bench all|reader|touched|larger|applier|outage|growth|latency|sweeps|keys`: see `--help`."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.bench import applier, growth, latency, page, reader, results, sweeps
from tests.bench.history import History, history
from tests.bench.sizes import QUICK, Sizes
from tests.servers import Servers, ensure

ROOT = Path(__file__).parents[2]
PARTS = ("reader", "applier", "touched", "larger", "latency", "growth", "sweeps", "outage")
"""What `all` runs, in this order: the first two share a history."""
ALONE = ("keys",)


def main() -> None:
    """Starts the servers that are needed, runs the benchmarks asked for, and writes their page."""
    options = _options()
    sizes = _sizes(options)
    every = [part for part in PARTS if part != "outage" or sizes.outage]
    names = dict.fromkeys(every if "all" in options.names else options.names)
    quick = options.quick or options.try_out
    folder = ROOT / "dist" / "bench" if quick else results.KEPT
    os.environ[results.FOLDER_SETTING] = str(folder)
    servers = ensure(("mysql", "kafka", "postgres"))
    began = time.monotonic()
    with ExitStack() as stack:
        shared: list[History] = []

        def single() -> History:
            if not shared:
                shared.append(stack.enter_context(history(servers, sizes.rows)))
            return shared[0]

        parts = _parts(servers, sizes, single, with_peers=not options.alone)
        for name in names:
            since = time.monotonic()
            parts[name]()
            print(f"{name}: {time.monotonic() - since:.0f} s")
            if name == "applier":
                stack.pop_all().close()
                shared.clear()
    if quick:
        page.write(folder, folder / "benchmarks.md", folder / "plots")
        print(f"small sizes for a try: no figures to keep; tables and plots lie in {folder}")
    else:
        page.write(folder)
    print(f"everything: {time.monotonic() - began:.0f} s")


def _parts(
    servers: Servers, sizes: Sizes, single: Callable[[], History], *, with_peers: bool
) -> dict[str, Callable[[], None]]:
    def keys() -> None:
        reader.integer_keys(servers, sizes)
        applier.integer_keys(servers, sizes)

    return {
        "reader": lambda: reader.bench(servers, single(), sizes, with_peers=with_peers),
        "applier": lambda: applier.bench(servers, single(), sizes, with_peers=with_peers),
        "touched": partial(reader.touched, servers, sizes, with_peers=with_peers),
        "larger": partial(reader.larger, servers, sizes),
        "latency": partial(latency.bench, servers, sizes),
        "growth": partial(growth.bench, servers, sizes),
        "sweeps": partial(sweeps.bench, servers, sizes),
        "outage": partial(applier.outage, servers, sizes),
        "keys": keys,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="+", choices=["all", *PARTS, *ALONE])
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: whether everything runs")
    parser.add_argument("--try-out", action="store_true", help="other sizes, but figures not to be kept: to dist/bench")
    parser.add_argument("--rows", type=int, help="changes in the history that reader and applier share")
    parser.add_argument("--outage", type=int, help="changes to catch up with")
    parser.add_argument("--changes", type=_numbers, help="growth: so many changes, with commas between")
    parser.add_argument("--users", type=_numbers, help="sweeps: so many users, with commas between")
    parser.add_argument("--runs", type=int, help="rounds, of which medians are taken")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = QUICK if options.quick else Sizes()
    asked = {name: getattr(options, name) for name in ("rows", "outage", "changes", "users", "runs")}
    return replace(sizes, **{name: value for name, value in asked.items() if value is not None})


if __name__ == "__main__":
    main()
