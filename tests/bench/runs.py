"""What several runs of one program come to: medians, and each run by itself; and contestants who take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench import results
from tests.bench.measure import Progress, median


@dataclass(frozen=True)
class Contestant:
    """Someone who takes turns with others: `once` is one run over `rows` rows, by the processes named."""

    name: str
    processes: Sequence[str]
    rows: int
    once: Callable[[], Progress]


def by_turns(contestants: Sequence[Contestant], runs: int) -> dict[str, list[Progress]]:
    """Every contestant once a round, another one first each time: what drifts on the machine meets all alike."""
    taken: dict[str, list[Progress]] = {one.name: [] for one in contestants}
    for number in range(runs):
        first = number % len(contestants)
        for one in [*contestants[first:], *contestants[:first]]:
            taken[one.name].append(one.once())
    return taken


def paired(contestants: Sequence[Contestant], taken: dict[str, list[Progress]]) -> list[results.Entry]:
    """An entry each, with how many times as fast the first of all was in the same round."""
    first = contestants[0]
    entries = []
    for one in contestants:
        ratios = [
            (first.rows / ours.seconds_to(first.rows)) / (one.rows / theirs.seconds_to(one.rows))
            for ours, theirs in zip(taken[first.name], taken[one.name], strict=True)
        ]
        entry = entry_of(one.name, one.processes, taken[one.name], one.rows)
        entries.append(entry if one is first else {**entry, "ours_is_times": round(median(ratios), 2)})
    return entries


def entry_of(name: str, processes: Sequence[str], taken: Sequence[Progress], rows: int) -> results.Entry:
    """The medians of all runs, the highest memory of any, and each run by itself."""

    def each(what: Callable[[Progress], float]) -> list[float]:
        return [what(progress) for progress in taken]

    figures = results.entry(
        name,
        rows,
        median(each(lambda progress: progress.seconds_to(rows))),
        max(each(lambda progress: progress.rss_mb)),
        cpu_us_a_row=median(each(lambda progress: sum(progress.cpu) * 1e6 / rows)),
    )
    if any(len(progress.points) > 1 for progress in taken):  # else nobody saw rows arrive
        figures |= {
            "rss_first_half_mb": round(max(each(lambda progress: progress.rss_mb_until(rows // 2)))),
        }
    if warm := round(median(each(lambda progress: progress.warm_rows_per_s(rows)))):  # 0: all arrived at once
        figures["warm_rows_per_s"] = warm
    brokers = [progress.broker_cpu * 1e6 / rows for progress in taken if progress.broker_cpu is not None]
    if brokers:
        figures["broker_cpu_us_a_row"] = round(median(brokers), 2)
    return {**figures, "runs": [_run(progress, processes, rows) for progress in taken]}


def _run(progress: Progress, processes: Sequence[str], rows: int) -> dict[str, object]:
    return {
        "seconds": round(progress.seconds_to(rows), 2),
        "rows_per_s": round(rows / progress.seconds_to(rows)),
        "warm_rows_per_s": round(progress.warm_rows_per_s(rows)),
        "rss_mb": dict(zip(processes, map(round, progress.rss_mb_each), strict=True)),
        "cpu_s": {name: round(seconds, 2) for name, seconds in zip(processes, progress.cpu, strict=True)},
        "broker_cpu_s": None if progress.broker_cpu is None else round(progress.broker_cpu, 2),
    }
