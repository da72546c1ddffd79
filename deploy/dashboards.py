"""Grafana's dashboards as code: `make dashboards` writes the JSON that Grafana is provisioned with.

A dashboard is rows of panels; a panel is a question with its queries. Layout, ids and units follow from that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from consumer.leads.model import CALLED
from reconciler.names import QUEUES

FOLDER: Final = Path(__file__).with_name("grafana") / "dashboards"
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
"""The one that is chosen at the top of the page."""
DEPLOYMENT: Final = 'deployment="$deployment"'
"""Every query is about the deployment that is chosen there."""
SERIES: Final = re.compile(
    r"\b(leadstream[_:][\w:]+|ALERTS|process_(?:start_time_seconds|resident_memory_bytes))(\{([^}]*)\})?"
)
WIDTH: Final = 24
"""Grafana's columns."""


@dataclass(frozen=True)
class Panel:
    """`queries` are PromQL by legend, without the deployment, which is added to each.

    `limits` are values from which on a stat turns yellow and red; where they fall, it turns so at or below them.
    `yes_or_no` is one that is red at 0.
    """

    title: str
    about: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    limits: tuple[float, float] | None = None
    stacked: bool = False
    yes_or_no: bool = False

    def as_json(self, number: int, position: Mapping[str, int]) -> dict[str, Any]:
        """What Grafana reads."""
        steps = self._steps()
        defaults: dict[str, Any] = {"unit": self.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.yes_or_no:
            answers = {"0": {"text": "no", "index": 0}, "1": {"text": "yes", "index": 1}}
            defaults["mappings"] = [{"type": "value", "options": answers}]
        if self.kind == "stat":
            defaults["noValue"] = "unknown"
        if self.kind == "timeseries":
            defaults["custom"] = {"fillOpacity": 15, "showPoints": "never"}
            if self.stacked:
                defaults["custom"]["stacking"] = {"mode": "normal"}
            options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}}
            options["tooltip"] = {"mode": "multi", "sort": "desc"}
        else:
            options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "textMode": "auto"}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": DATASOURCE,
            "gridPos": dict(position),
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": options,
            "targets": [
                {
                    "refId": chr(ord("A") + nth),
                    "datasource": DATASOURCE,
                    "expr": scoped(expr),
                    "legendFormat": legend,
                }
                for nth, (legend, expr) in enumerate(self.queries.items())
            ],
        }

    def _steps(self) -> list[dict[str, Any]]:
        """From which values on a stat has which colour."""
        if self.yes_or_no:
            return [{"color": "red", "value": None}, {"color": "green", "value": 1}]
        if self.limits is None:
            return [{"color": "blue", "value": None}]  # a number that is neither good nor bad
        first, second = self.limits
        if first > second:
            falling = (("red", None), ("yellow", second), ("green", first))
            return [{"color": color, "value": at} for color, at in falling]
        rising = (("green", None), ("yellow", first), ("red", second))
        return [{"color": color, "value": at} for color, at in rising]


def scoped(query: str) -> str:
    """A query with the deployment added to every series that it asks for."""
    return SERIES.sub(lambda found: f"{found[1]}{{{', '.join(filter(None, (DEPLOYMENT, found[3])))}}}", query)


@dataclass(frozen=True)
class Dashboard:
    """One page; each row's panels share its width, and stats are flatter than charts."""

    uid: str
    title: str
    about: str
    rows: Sequence[Sequence[Panel]]

    def as_json(self) -> dict[str, Any]:
        """What Grafana reads."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["leadstream"],
            "schemaVersion": 39,
            "version": 1,
            "editable": False,
            "timezone": "browser",
            "refresh": "10s",
            "time": {"from": "now-6h", "to": "now"},
            "templating": {"list": _variables()},
            "annotations": {"list": [_alerts()]},
            "links": [{"type": "dashboards", "title": "leadstream", "tags": ["leadstream"], "asDropdown": True}],
            "panels": list(self._panels()),
        }

    def _panels(self) -> Iterator[dict[str, Any]]:
        number, y = 0, 0
        for row in self.rows:
            height = 4 if all(panel.kind == "stat" for panel in row) else 8
            width = WIDTH // len(row)
            for column, panel in enumerate(row):
                number += 1
                yield panel.as_json(number, {"x": column * width, "y": y, "w": width, "h": height})
            y += height


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": scoped('ALERTS{alertstate="firing", alertname=~"Leadstream.+"}'),
        "titleFormat": "{{alertname}}",
    }


def _variables() -> list[dict[str, Any]]:
    """What is chosen at the top of the page: a data source, and a deployment that it knows."""
    query = "label_values(leadstream_build_info, deployment)"
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0},
        {
            "name": "deployment",
            "label": "Deployment",
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": "deployment"},
            "refresh": 2,
            "sort": 1,
            "includeAll": False,
            "multi": False,
            "hide": 0,
        },
    ]


def answers(title: str, about: str, query: str) -> Panel:
    """Whether something answers: red where it does not."""
    return Panel(title, about, {title: query}, kind="stat", yes_or_no=True)


def stat(title: str, about: str, query: str, unit: str = "short", limits: tuple[float, float] | None = None) -> Panel:
    """One number."""
    return Panel(title, about, {title: query}, unit, "stat", limits)


OF_PROCESS: Final = "{} * on (job, instance) group_left (process) leadstream_build_info"
"""What Prometheus's client measures of a process, with our name for it."""
PRESENT: Final = 'count(leadstream_build_info{{process="{}"}}) > bool 0 or vector(0)'
"""Whether a process is there; 0, not nothing, where none is."""

STREAM: Final = Dashboard(
    "leadstream-stream",
    "Stream health",
    "Whether changes get from MySQL through Kafka into PostgreSQL, how fast, and what is in the way.",
    [
        [
            *(
                answers(f"{process.capitalize()} there", "Whether one is scraped.", PRESENT.format(process))
                for process in ("reader", "applier", "reconciler")
            ),
            stat(
                "Hours until binlogs are lost",
                "Until the server purges what the reader has yet to read.",
                'leadstream:hours_until_loss{of="binlogs"}',
                "short",
                (24, 6),
            ),
            stat(
                "Hours until topics are lost",
                "Until Kafka drops what the appliers have yet to apply.",
                'leadstream:hours_until_loss{of="topics"}',
                "short",
                (24, 6),
            ),
            stat(
                "Refused",
                "Customers whose rows PostgreSQL refuses, and who wait.",
                "max(leadstream_rechecks_refused)",
                "short",
                (1, 100),
            ),
        ],
        [
            stat("Reader behind", "Age of what Kafka has.", "leadstream:reader_lag_seconds", "s", (30, 60)),
            stat("Slowest lane", "Age of what PostgreSQL has.", "max(leadstream:lane_lag_seconds)", "s", (30, 120)),
            stat(
                "Rows waiting",
                "In Kafka, not yet applied.",
                "sum(leadstream:lane_lag_rows)",
                "short",
                (50_000, 500_000),
            ),
            stat("Rows/s", "Applied now.", 'sum(leadstream:rows:rate1m{process="applier"})', "cps"),
            stat(
                "Lost",
                "Numbers that can no longer arrive, of the last 24 hours.",
                "sum(increase(leadstream_lost_numbers_total[24h]))",
                "short",
                (1, 1),
            ),
            stat(
                "Dead letters",
                "Messages that could not be applied and that nobody has resolved.",
                "sum(max by (reason) (leadstream_dead_letters_unresolved))",
                "short",
                (1, 100),
            ),
        ],
        [
            Panel(
                "How far behind",
                "Seconds from the commit in MySQL.",
                {"reader": "leadstream:reader_lag_seconds", "lane {{lane}}": "leadstream:lane_lag_seconds"},
                "s",
            ),
            Panel(
                "Rows behind",
                "In the binlog, about; and in each lane, exactly.",
                {"binlog": "leadstream:reader_lag_rows", "lane {{lane}}": "leadstream:lane_lag_rows"},
            ),
            Panel(
                "Binlog still to be read",
                "Bytes; files between count with max_binlog_size.",
                {"reader": "max(leadstream_reader_lag_bytes)"},
                "bytes",
            ),
        ],
        [
            Panel(
                "Rows read",
                "By table and operation.",
                {"{{table}} {{operation}}": 'leadstream:rows:rate1m{process="reader"}'},
                "cps",
                stacked=True,
            ),
            Panel(
                "Rows applied",
                "By table and operation.",
                {"{{table}} {{operation}}": 'leadstream:rows:rate1m{process="applier"}'},
                "cps",
                stacked=True,
            ),
        ],
        [
            Panel(
                "Commit to visible",
                "From the commit in MySQL to the one in PostgreSQL, of each batch's oldest change.",
                {"median": "leadstream:delay_seconds:p50", "99 %": "leadstream:delay_seconds:p99"},
                "s",
            ),
            Panel(
                "Time to commit a batch",
                "99 % of batches, in Kafka and in PostgreSQL.",
                {
                    "{{process}}": "histogram_quantile(0.99, sum by (process, le)"
                    " (rate(leadstream_batch_seconds_bucket[$__rate_interval])))"
                },
                "s",
            ),
        ],
        [
            Panel(
                "Reconnects",
                "Attempts to reach a server that was lost.",
                {"{{process}} to {{server}}": "sum by (process, server) (increase(leadstream_reconnects_total[5m]))"},
            ),
            Panel(
                "Look-ups on the replica",
                "Whose claim is it: asked, and remembered.",
                {
                    "queries": "sum(rate(leadstream_claim_queries_total[$__rate_interval]))",
                    "claims asked": "sum(rate(leadstream_claims_asked_total[$__rate_interval]))",
                    "remembered": "sum(rate(leadstream_claim_hits_total[$__rate_interval]))",
                },
                "cps",
            ),
            Panel(
                "Lanes of each applier",
                "Evenly shared, and none without an owner.",
                {"{{instance}}": "leadstream_lanes"},
                stacked=True,
            ),
        ],
        [
            Panel(
                "Set aside and skipped",
                "What was not applied, and why.",
                {
                    "dead letter: {{reason}}": "sum by (reason) (increase(leadstream_dead_letters_total[5m]))",
                    "{{reason}}": "sum by (reason) (increase(leadstream_skipped_changes_total[5m]))",
                    "refused by PostgreSQL": "sum(increase(leadstream_refused_leads_total[5m]))",
                    "dropped for its age, unresolved": "sum(increase(leadstream_dead_letters_expired_total[5m]))",
                },
            ),
            Panel(
                "Rows that the binlog lacks",
                "Statements on captured tables.",
                {"{{verb}} {{table}}": "sum by (verb, table) (increase(leadstream_unreadable_changes_total[1h]))"},
            ),
            Panel(
                "Batches tried again",
                "By what was in the way.",
                {"{{reason}}": "sum by (reason) (increase(leadstream_retries_total[5m]))"},
            ),
        ],
        [
            Panel(
                "Processes",
                "How many there are of each, by version; two versions: a roll-out under way, or one that got stuck.",
                {"{{process}} {{version}}": "count by (process, version) (leadstream_build_info)"},
                kind="stat",
            ),
            Panel(
                "Uptime",
                "Since each process began; a saw is one that ends again and again.",
                {"{{process}} {{instance}}": OF_PROCESS.format("(time() - process_start_time_seconds)")},
                "s",
            ),
            Panel(
                "Memory",
                "Resident, of each process.",
                {"{{process}} {{instance}}": OF_PROCESS.format("process_resident_memory_bytes")},
                "bytes",
            ),
        ],
    ],
)

MIDNIGHT: Final = "Since midnight of AGING_TIMEZONE, as on the status page."
CONVERTED: Final = "sum(max by (type, source) (leadstream_conversions_today{}))"
"""Conversions of today; each reconciler has all of them."""

BUSINESS: Final = Dashboard(
    "leadstream-business",
    "Conversions",
    "What converts, how long it takes, and who waits in the queues.",
    [
        [
            stat("Conversions today", MIDNIGHT, CONVERTED.format("")),
            stat("Signatures today", MIDNIGHT, CONVERTED.format('{type="signature_obtained"}')),
            stat("Documents complete today", MIDNIGHT, CONVERTED.format('{type="requirements_completed"}')),
            *(
                stat(QUEUES[queue], "Customers in the queue now.", f'leadstream:queue_leads{{queue_type="{queue}"}}')
                for queue in CALLED
            ),
        ],
        [
            Panel(
                "Conversions an hour",
                "By type, and by what found them: the stream, or a sweep that repaired.",
                {"{{type}} ({{source}})": "leadstream:conversions:rate1h"},
                stacked=True,
            ),
            Panel("Queues", "Customers in each.", {"{{queue_type}}": 'leadstream:queue_leads{queue_type!="none"}'}),
        ],
        [
            Panel(
                "Time in the queue until the conversion",
                "Half of the customers need no longer than this, by type.",
                {
                    "{{type}}": "histogram_quantile(0.5, sum by (type, le)"
                    " (increase(leadstream_time_to_conversion_seconds_bucket[24h])))"
                },
                "s",
            ),
            Panel(
                "Slowest tenth",
                "Nine in ten need no longer than this, by type.",
                {
                    "{{type}}": "histogram_quantile(0.9, sum by (type, le)"
                    " (increase(leadstream_time_to_conversion_seconds_bucket[24h])))"
                },
                "s",
            ),
        ],
        [
            Panel(
                "Why customers change queue",
                "An hour, by reason.",
                {"{{reason}}": "sum by (reason) (increase(leadstream_queue_changes_total[1h]))"},
                stacked=True,
            ),
            Panel(
                "Pre-call checks",
                "By where the answer came from, and whether the dialler was right.",
                {
                    "{{source}}, expected: {{agrees}}": "sum by (source, agrees)"
                    " (rate(leadstream_precalls_total[$__rate_interval]))"
                },
                "cps",
            ),
            Panel(
                "Conversions to their topic",
                "Written in five minutes, and waiting; where PUBLISH_CONVERSIONS is true.",
                {
                    "written": "sum(increase(leadstream_conversion_events_published_total[5m]))",
                    "waiting": "max(leadstream_conversion_events_waiting)",
                },
            ),
        ],
    ],
)

SHADOW: Final = 'max(leadstream_mode{mode="shadow"})'

RECONCILER: Final = Dashboard(
    "leadstream-reconciler",
    "Reconciler",
    "The safety net: what the sweeps look at, what they find, and that they run at all.",
    [
        [
            stat(
                "Repaired today",
                "Should be zero: what the stream missed. " + MIDNIGHT,
                "max(leadstream_repaired_today)",
                "short",
                (1, 10),
            ),
            stat(
                "Conversions by sweeps today",
                "Should be zero. " + MIDNIGHT,
                CONVERTED.format('{source="sweep"}'),
                "short",
                (1, 10),
            ),
            stat(
                "Rechecks due",
                "Customers that wait to be read live.",
                "max(leadstream_rechecks_due)",
                "short",
                (100, 1000),
            ),
            stat("Replica behind", "Its own source.", "max(leadstream_replica_lag_seconds)", "s", (60, 300)),
            answers("MySQL answers", "The reconciler.", "max(leadstream_replica_up)"),
            answers("PostgreSQL answers", "The reconciler.", "max(leadstream_store_up)"),
            answers("Kafka answers", "The reconciler, with the reader's checkpoint.", "max(leadstream_kafka_up)"),
        ],
        [
            Panel(
                "Since the last success",
                "Sweeps run hourly, aging daily, verify nightly.",
                {"{{run}}": "leadstream:run_age_seconds"},
                "s",
            ),
            Panel(
                "How long runs take",
                "95 % of them; 30 s are allowed.",
                {
                    "{{run}}": "histogram_quantile(0.95, sum by (run, le)"
                    " (increase(leadstream_reconciler_run_seconds_bucket[1h])))"
                },
                "s",
            ),
        ],
        [
            Panel(
                "Drift found",
                "Confirmed differences from MySQL, an hour, by kind.",
                {"{{kind}}": "sum by (kind) (increase(leadstream_reconciler_drift_total[1h]))"},
                stacked=True,
            ),
            Panel(
                "Drift repaired",
                "Customers, an hour, by run.",
                {
                    "{{run}}": "sum by (run) (increase(leadstream_reconciler_repaired_total[1h]))",
                    "{{run}}: not confirmed yet": "sum by (run) (increase(leadstream_reconciler_left_total[1h]))",
                    "{{run}}: refused": "sum by (run) (increase(leadstream_reconciler_refused_total[1h]))",
                },
            ),
        ],
        [
            stat(
                "Found by the last verify",
                "Differences from MySQL, and of the call centre's tables from our stints.",
                "sum(max by (kind) (leadstream_verify_drift))",
                "short",
                (1, 100),
            ),
            Panel(
                "How the last runs ended",
                "Each name once, with its outcome.",
                {"{{run}}: {{outcome}}": "max by (run, outcome) (leadstream_run_outcome)"},
            ),
            stat("Backfill done", "Of all users.", "max(leadstream_backfill_done_ratio)", "percentunit"),
            stat("Shadow mode", "1: nothing is written for the call centre.", SHADOW, "short", (1, 2)),
        ],
        [
            Panel(
                "Compared with MySQL",
                "Customers an hour, by run.",
                {"{{run}}": "sum by (run) (increase(leadstream_reconciler_checked_total[1h]))"},
            ),
            Panel(
                "Queries on the replica",
                "An hour, by run.",
                {"{{run}}": "sum by (run) (increase(leadstream_reconciler_replica_queries_total[1h]))"},
            ),
            Panel(
                "How runs ended",
                "An hour.",
                {"{{run}}: {{outcome}}": "sum by (run, outcome) (increase(leadstream_reconciler_runs_total[1h]))"},
            ),
        ],
        [
            Panel(
                "Rechecks",
                "Queued, due, and processed in five minutes.",
                {
                    "waiting": "max(leadstream_rechecks_waiting)",
                    "due": "max(leadstream_rechecks_due)",
                    "processed": "sum(increase(leadstream_rechecks_done_total[5m]))",
                    "queued by the stream": "sum(increase(leadstream_rechecks_queued_total[5m]))",
                },
            ),
            Panel(
                "Pre-call checks",
                "How long the dialler waits.",
                {
                    "99 %": "leadstream:precall_seconds:p99",
                    "median": "histogram_quantile(0.5, sum by (le) (rate(leadstream_precall_seconds_bucket[5m])))",
                },
                "s",
            ),
            Panel(
                "Drift seen before a call",
                "Each queued a recheck.",
                {"an hour": "sum(increase(leadstream_precall_drift_total[1h]))"},
            ),
        ],
    ],
)

DASHBOARDS: Final = {"stream": STREAM, "business": BUSINESS, "reconciler": RECONCILER}


def text(dashboard: Dashboard) -> str:
    """The file that Grafana reads."""
    return json.dumps(dashboard.as_json(), indent=1, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Writes a file for each."""
    for name, dashboard in DASHBOARDS.items():
        (folder / f"{name}.json").write_text(text(dashboard), encoding="utf-8")


if __name__ == "__main__":
    write(FOLDER)
