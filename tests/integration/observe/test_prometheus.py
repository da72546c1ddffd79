"""Rules, alerts and dashboards, asked of a real Prometheus that scraped the running system."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from consumer.measures import CATALOGUE
from consumer.settings import KafkaSettings
from deploy.dashboards import DASHBOARDS, Panel, scoped
from reconciler import metrics as _declares  # noqa: F401
from tests.integration.observe import alert_cases
from tests.integration.observe.prometheus import CONFIG, Prometheus, program
from tests.servers.processes import run
from tests.support.waiting import until

pytestmark = pytest.mark.servers

RUNBOOK: Final = Path(__file__).parents[3] / "docs" / "how-to" / "runbook.md"
NAME: Final = re.compile(r"\bleadstream_\w+")
RECORDED: Final = re.compile(r"\bleadstream:[\w:]+")


def groups(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((CONFIG / file).read_text())["groups"]
    return found


def rules(file: str) -> list[dict[str, Any]]:
    return [rule for group in groups(file) for rule in group["rules"]]


RULE_FILES: Final = ("rules.yml", "alerts.yml")
ALERTS: Final = rules("alerts.yml")
RULES: Final = [rule for file in RULE_FILES for rule in rules(file)]
EXPRESSIONS: Final = [rule["expr"] for rule in RULES]
PANELS: Final = [
    pytest.param(scoped(query), id=f"{page}: {panel.title}, {legend}")
    for page, dashboard in DASHBOARDS.items()
    for row in dashboard.rows
    for panel in row
    for legend, query in panel.queries.items()
]


def deployment(prometheus: Prometheus) -> str:
    """Of what is scraped, the only one."""
    (found,) = prometheus.labels("deployment")
    return found


def test_prometheus_takes_the_configuration_as_it_is() -> None:
    result = run([program("promtool"), "check", "config", str(CONFIG / "prometheus.yml")])
    assert result.returncode == 0, result.stdout + result.stderr


def test_prometheus_takes_the_configuration_for_kubernetes(tmp_path: Path) -> None:
    config = yaml.safe_load((CONFIG / "kubernetes.yml").read_text())
    (job,) = config["scrape_configs"]
    del job["kubernetes_sd_configs"]  # Debian's Prometheus is built without it; the rest is checked
    config["rule_files"] = [str(CONFIG / name) for name in config["rule_files"]]
    (tmp_path / "kubernetes.yml").write_text(yaml.safe_dump(config))
    result = run([program("promtool"), "check", "config", str(tmp_path / "kubernetes.yml")])
    assert result.returncode == 0, result.stdout + result.stderr


def test_of_two_deployments_an_alert_names_the_one_that_is_sick(tmp_path: Path) -> None:
    names = [alert["alert"] for alert in ALERTS]
    order = [group["name"] for file in RULE_FILES for group in groups(file)]
    for number, text in enumerate(alert_cases.files(names, order, [str(CONFIG / file) for file in RULE_FILES])):
        file = tmp_path / f"{number}.yml"
        file.write_text(text)
        result = run([program("promtool"), "test", "rules", str(file)])
        assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_case() -> None:
    cases = (*alert_cases.CASES, *alert_cases.BY_TEN_MINUTES, *alert_cases.BY_HOUR)
    assert {case.name for case in cases} == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_keeps_the_deployment(rule: dict[str, Any]) -> None:
    if rule.get("record") == "leadstream:business_hours":
        return
    for kept in re.findall(r"\b(?:sum|min|max|count|group|avg)(?: by \(([^)]*)\))?\s*\(", rule["expr"]):
        assert "deployment" in kept.split(", "), rule["expr"]
    assert "up{" not in rule["expr"], "jobs have names of the operator's"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_urgent_it_is_and_where_the_runbook_tells_of_it(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "warn")
    assert alert["annotations"]["summary"]
    assert alert["alert"].startswith("Leadstream")
    assert alert["annotations"]["summary"].startswith("{{ $labels.deployment }}: ")
    assert alert["annotations"]["runbook_url"] == f"docs/how-to/runbook.md#{alert['alert'].lower()}"


def test_the_runbook_has_a_section_for_every_alert() -> None:
    sections = re.findall(r"^#+ (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert {alert["alert"] for alert in ALERTS} <= set(sections)


def test_every_metric_that_the_code_declares_is_scraped(prometheus: Prometheus) -> None:
    for measure in CATALOGUE:
        name = f"{measure.name}_count" if measure.kind == "histogram" else measure.name
        prometheus.await_data(name)


def test_no_process_tells_when_its_counters_were_created(prometheus: Prometheus) -> None:
    prometheus.await_data("leadstream_conversions_total")
    assert prometheus.query('count({__name__=~".+_total"})')[0] > 100
    assert prometheus.query('count({__name__=~".+_created"})') == []


def test_todays_conversions_are_those_that_postgresql_has(prometheus: Prometheus) -> None:
    today, counted = "sum(leadstream_conversions_today)", "sum(leadstream_conversions_total)"
    until(lambda: prometheus.query(f"{today} == {counted}") != [], "what processes counted was seen in PostgreSQL", 150)


def test_every_metric_that_rules_and_alerts_use_has_data(prometheus: Prometheus) -> None:
    used = {name for expression in EXPRESSIONS for name in NAME.findall(expression)}
    assert len(used) > 20
    for name in used:
        prometheus.await_data(name)


def test_every_recording_rule_has_data_and_every_rule_can_be_evaluated(prometheus: Prometheus) -> None:
    recorded = {rule["record"] for rule in rules("rules.yml")}
    assert {name for expression in EXPRESSIONS for name in RECORDED.findall(expression)} <= recorded
    for name in recorded:
        prometheus.await_data(name)
    evaluated = prometheus.rules()
    assert len(evaluated) == len(EXPRESSIONS)
    assert [rule["lastError"] for rule in evaluated if rule["health"] != "ok"] == []


@pytest.mark.parametrize("query", PANELS)
def test_every_query_of_a_panel_has_data(prometheus: Prometheus, query: str) -> None:
    asked = query.replace("$__rate_interval", "30s").replace("$deployment", deployment(prometheus))
    prometheus.await_data(asked)


def test_numbers_of_the_dashboards_are_those_of_what_happened(prometheus: Prometheus) -> None:
    until(lambda: prometheus.query("sum(leadstream_dead_letters_total)") == [1], "the dead letter was counted")
    repaired = 'sum(leadstream_reconciler_drift_total{kind="enabled"})'
    until(lambda: prometheus.query(repaired) == [1], "the repaired drift was counted")
    assert prometheus.query('sum(leadstream_conversions_total{source="stream"})')[0] > 0
    applied, read = (
        f'sum(leadstream_rows_total{{process="{process}", table="users"}})' for process in ("applier", "reader")
    )
    until(lambda: prometheus.query(applied) == prometheus.query(read), "every user's row that was read was applied")


def test_hours_until_loss_are_what_kafka_and_mysql_keep_while_nobody_is_behind(prometheus: Prometheus) -> None:
    week = [float(KafkaSettings(kafka_bootstrap_servers="").topic_retention_hours)]
    until(lambda: prometheus.query('leadstream:retention_hours{of="topics"}') == week, "Kafka told what it keeps")
    for kept in ("topics", "binlogs"):
        left, all_of_it = (f'leadstream:{what}{{of="{kept}"}}' for what in ("hours_until_loss", "retention_hours"))
        until(lambda asked=f"{left} > {all_of_it} - 0.1": bool(prometheus.query(asked)), f"{kept} are kept")  # type: ignore[misc]


def test_nobody_is_paged_while_everything_runs(prometheus: Prometheus) -> None:
    assert prometheus.query('ALERTS{severity="page", alertstate="firing"}') == []


@pytest.mark.parametrize("alert", ["LeadstreamDeadLetters", "LeadstreamDriftRepaired"])
def test_what_went_wrong_is_alerted(prometheus: Prometheus, alert: str) -> None:
    firing = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    until(lambda: prometheus.query(firing) == [1], f"{alert} was alerted")


def test_a_panel_asks_for_nothing_that_is_not_declared() -> None:
    declared = {measure.name for measure in CATALOGUE}
    recorded = {rule["record"] for rule in rules("rules.yml")}
    for dashboard in DASHBOARDS.values():
        for row in dashboard.rows:
            for panel in row:
                assert _names(panel) <= declared | recorded, panel.title


def _names(panel: Panel) -> set[str]:
    found = {name for query in panel.queries.values() for name in NAME.findall(query) + RECORDED.findall(query)}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}
