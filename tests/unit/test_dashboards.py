"""The dashboards that Grafana is provisioned with are those of the code, and hang together."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.dashboards import DASHBOARDS, FOLDER, write

PROVISIONING: Final = FOLDER.with_name("provisioning")
COMPOSE: Final = Path(__file__).parents[2] / "docker-compose.yml"


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
def test_every_panel_asks_the_data_source_that_is_provisioned(name: str) -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    for panel in dashboard(name)["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
        assert [target["refId"] for target in panel["targets"]] == sorted({t["refId"] for t in panel["targets"]})
        assert all(target["expr"] and target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_grafana_finds_the_dashboards_where_compose_mounts_them() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "leadstream.yml").read_text())["providers"]
    mounts = yaml.safe_load(COMPOSE.read_text())["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro" in mounts
    assert len({dashboard(name)["uid"] for name in DASHBOARDS}) == len(DASHBOARDS)
