"""The dashboards that Grafana is provisioned with are those of the code, and hang together."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from consumer.measures import CATALOGUE
from deploy.alerts import FILES, RULES
from deploy.dashboards import DASHBOARDS, FOLDER, scoped, stat, write
from reconciler.metrics import EVENTS_WAITING

PROVISIONING: Final = FOLDER.with_name("provisioning")
COMPOSE: Final = Path(__file__).parents[3] / "docker-compose.yml"


def dashboard(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def test_the_files_are_what_make_dashboards_writes(tmp_path: Path) -> None:
    write(tmp_path)
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert written == {file.name: file.read_text() for file in FOLDER.iterdir()}
    assert set(written) == {"stream.json", "business.json", "reconciler.json"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    panels = dashboard(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 9
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart_across = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_down = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_across or apart_down
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_asks_the_data_source_and_the_deployment_that_are_chosen(name: str) -> None:
    (provisioned,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    source, deployment = dashboard(name)["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", provisioned["type"])
    assert (deployment["name"], deployment["datasource"]["uid"]) == ("deployment", "${datasource}")
    for panel in dashboard(name)["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": provisioned["type"], "uid": "${datasource}"}
        for target in panel["targets"]:
            asked = re.findall(r"(?:leadstream[_:][\w:]+|ALERTS|process_\w+_(?:seconds|bytes))(.{,27})", target["expr"])
            assert asked
            assert all(after.startswith('{deployment="$deployment"') for after in asked), target["expr"]
        assert [target["refId"] for target in panel["targets"]] == sorted({t["refId"] for t in panel["targets"]})
        assert all(target["expr"] and target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_what_does_not_answer_is_not_green() -> None:
    panels = [panel for name in DASHBOARDS for panel in dashboard(name)["panels"]]
    answers = [panel for panel in panels if panel["title"].endswith((" answers", " there"))]
    assert len(answers) == 6
    for panel in answers:
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps == [{"color": "red", "value": None}, {"color": "green", "value": 1}]


def test_a_limit_that_falls_is_red_below() -> None:
    panel = stat("Hours left", "Until loss.", "leadstream:hours_until_loss", limits=(24, 6)).as_json(1, {})
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["color"], step["value"]) for step in steps] == [("red", None), ("yellow", 6), ("green", 24)]


def test_the_deployment_is_added_to_every_series_of_a_query() -> None:
    query = 'sum by (run) (rate(leadstream_rows_total[5m])) / leadstream:x:y{of="a"} or vector(0)'
    assert scoped(query) == (
        'sum by (run) (rate(leadstream_rows_total{deployment="$deployment"}[5m]))'
        ' / leadstream:x:y{deployment="$deployment", of="a"} or vector(0)'
    )


def test_every_metric_is_shown_somewhere_or_alerted_on() -> None:
    asked = [panel["targets"] for name in DASHBOARDS for panel in dashboard(name)["panels"]]
    rules = [(RULES / file).read_text() for file in FILES]
    names = set(re.findall(r"\bleadstream_\w+", json.dumps(asked) + "".join(rules)))
    shown = names | {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert EVENTS_WAITING in CATALOGUE, "the reconciler's metrics are among them"
    assert [measure.name for measure in CATALOGUE if measure.name not in shown] == []


def test_grafana_finds_the_dashboards_where_compose_mounts_them() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "leadstream.yml").read_text())["providers"]
    mounts = yaml.safe_load(COMPOSE.read_text())["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro" in mounts
    assert len({dashboard(name)["uid"] for name in DASHBOARDS}) == len(DASHBOARDS)
