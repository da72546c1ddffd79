"""What several runs of one program come to: medians, and each run by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench import results
from tests.bench.measure import Progress, median


def entry_of(name: str, processes: Sequence[str], taken: list[Progress], rows: int) -> results.Entry:
    """The medians of all runs, the highest memory of any, and each run by itself."""

    def each(what: Callable[[Progress], float]) -> list[float]:
        return [what(progress) for progress in taken]

    figures = results.entry(
        name,
        rows,
        median(each(lambda progress: progress.seconds_to(rows))),
        max(each(lambda progress: progress.rss_mb)),
        rss_first_half_mb=round(max(each(lambda progress: progress.rss_mb_until(rows // 2)))),
        warm_rows_per_s=round(median(each(lambda progress: progress.warm_rows_per_s(rows)))),
        cpu_us_a_row=median(each(lambda progress: sum(progress.cpu) * 1e6 / rows)),
    )
    return {**figures, "runs": [_run(progress, processes, rows) for progress in taken]}


def _run(progress: Progress, processes: Sequence[str], rows: int) -> dict[str, object]:
    return {
        "seconds": round(progress.seconds_to(rows), 2),
        "rows_per_s": round(rows / progress.seconds_to(rows)),
        "warm_rows_per_s": round(progress.warm_rows_per_s(rows)),
        "rss_mb": dict(zip(processes, map(round, progress.rss_mb_each), strict=True)),
        "cpu_s": {name: round(seconds, 1) for name, seconds in zip(processes, progress.cpu, strict=True)},
    }
