"""The page of benchmarks says what the kept figures are, and a goal is met only where they say so."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench import goals, page, results
from tests.bench.growth import with_margins


def test_the_measured_part_of_the_page_is_what_the_kept_figures_make() -> None:
    written = page.PAGE.read_text()
    assert written[written.index(page.BEGIN) + len(page.BEGIN) : written.index(page.END)].strip() == page.text().strip()


def test_the_plots_are_those_of_the_kept_figures() -> None:
    assert {path.name: path.read_text() for path in page.PLOTS.glob("*.svg")} == page.drawn()


def test_a_goal_that_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {one.verdict for one in goals.judged({})} == {"not measured"}


def test_a_peer_that_is_better_stands_where_we_lose() -> None:
    entries = {
        "reader": [
            {"name": "leadstream", "rows_per_s": 100, "cpu_us_a_row": 9.0},
            {"name": goals.GO, "rows_per_s": 120, "cpu_us_a_row": 8.0, "ours_is_times": 0.8},
            {"name": goals.DEBEZIUM, "rows_per_s": 10, "cpu_us_a_row": 90.0, "ours_is_times": 10.0},
            {"name": "mysqlbinlog --raw", "rows_per_s": 500, "ours_is_times": 0.2},
        ]
    }
    verdicts = {one.goal: one.verdict for one in goals.judged(entries)}
    assert verdicts["into Kafka, ≥ 1.5 × Go since launch"] == "missed"
    assert verdicts["into Kafka, ≥ 5 × Debezium since launch"] == "met"
    assert verdicts["into Kafka, less CPU a row than Go"] == "missed"
    assert list(goals.losses(entries)) == [
        "go-mysql + franz-go (reader) is 1.25 × as fast as leadstream.",
        "go-mysql + franz-go (reader) takes less CPU a row: 8.0 µs against 9.0.",
    ]


def test_a_cost_is_a_straight_line_where_a_further_million_costs_the_same_whatever_starting_takes() -> None:
    sizes = [(1_000, 5.0, 0.1), (100_000, 6.0, 10.0), (1_000_000, 15.2, 400.0)]
    made: list[results.Entry] = [
        {"name": f"{rows:,} changes", "rows": rows, "seconds": seconds, "kafka_mb": disk}
        for rows, seconds, disk in sizes
    ]
    entries = with_margins(made, "rows")
    assert [entry.get("seconds_a_further_million") for entry in entries] == [None, 10.1, 10.2]
    assert list(page.straightness(entries)) == [
        "- seconds: a straight line, +1 % up to 1,000,000 changes against up to 100,000 changes",
        "- Kafka MB: not a straight line, +333 % up to 1,000,000 changes against up to 100,000 changes",
    ]


def test_a_page_is_made_where_there_is_none_and_written_anew_where_there_is_one(tmp_path: Path) -> None:
    entry = {"name": "leadstream", "rows": 1, "seconds": 1.0, "rows_per_s": 1, "rss_mb": 7}
    kept = {"title": "binlog → committed Kafka", "machine": {"cores": 2}, "entries": [entry]}
    (tmp_path / "reader.json").write_text(json.dumps(kept))
    target = tmp_path / "benchmarks.md"
    page.write(tmp_path, target, tmp_path / "plots")
    first = target.read_text()
    assert "| **leadstream** | 1 | 7 |" in first
    target.write_text(first + "What was written by hand.\n")
    page.write(tmp_path, target, tmp_path / "plots")
    assert target.read_text() == first + "What was written by hand.\n"
    assert (tmp_path / "plots" / "into-kafka.svg").exists()
