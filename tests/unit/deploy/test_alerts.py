"""Rules in other shapes are made of the one description there is, and one outage is one page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.alerts import FILES, OVERLAY, RULES, RUNBOOK, config_maps, main, prometheus_rule, rules

URL: Final = "https://wiki.example.org/leadstream/runbook.md"
ALERTS: Final = {
    rule["alert"]: rule["labels"]["severity"]
    for group in yaml.safe_load(rules("alerts.yml"))["groups"]
    for rule in group["rules"]
}
MANAGER: Final[dict[str, Any]] = yaml.safe_load((RULES / "alertmanager.yml").read_text())


def inhibited(source: str) -> set[str]:
    """The alerts that are held back while another one fires."""
    found = set()
    for rule in MANAGER["inhibit_rules"]:
        if source in names(rule["source_matchers"]):
            found |= names(rule["target_matchers"])
    return found


def names(matchers: list[str]) -> set[str]:
    """The alerts that the matcher of `alertname` takes."""
    (matcher,) = [matcher for matcher in matchers if matcher.startswith("alertname")]
    pattern = re.fullmatch(r'alertname=~?"(.+)"', matcher)
    assert pattern is not None, matcher
    return {alert for alert in ALERTS if re.fullmatch(pattern[1], alert)}


def test_the_overlay_is_what_make_alerts_writes() -> None:
    assert (OVERLAY / "rules.yaml").read_text() == prometheus_rule()
    assert (OVERLAY / "dashboards.yaml").read_text() == config_maps()


def test_links_lead_to_the_runbook_that_is_named(tmp_path: Path) -> None:
    main(["--runbook", URL, "--into", str(tmp_path)])
    (rule,) = yaml.safe_load_all((tmp_path / "prometheusrule.yaml").read_text())
    groups = [group for file in FILES for group in yaml.safe_load((tmp_path / file).read_text())["groups"]]
    assert rule["spec"]["groups"] == groups
    links = [rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert len(links) == len(ALERTS)
    assert all(link.startswith(f"{URL}#leadstream") for link in links)


def test_without_an_address_links_lead_into_the_repository_and_stay_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert rules("alerts.yml").count(f"runbook_url: {RUNBOOK}#leadstream") == len(ALERTS)
    with pytest.raises(SystemExit):
        main(["--runbook", URL])
    assert "--runbook takes --into" in capsys.readouterr().err


def test_alertmanager_holds_back_what_there_is_and_only_within_a_deployment() -> None:
    for rule in MANAGER["inhibit_rules"]:
        assert "deployment" in rule["equal"]
        for matchers in (rule["source_matchers"], rule["target_matchers"]):
            assert names(matchers)
            for word in re.findall(r"Leadstream\w+", " ".join(matchers)):
                assert any(alert.startswith(word) for alert in ALERTS), word
        assert not names(rule["source_matchers"]) & names(rule["target_matchers"])


@pytest.mark.parametrize(
    ("cause", "follows"),
    [
        ("Down", "ReaderDown ApplierDown ReconcilerDown"),
        ("ReplicaDown", "ReaderStuck ReaderDown ReaderLagging LaneLagging Reconnecting"),
        ("StoreDown", "ApplierStuck ApplierDown LaneLagging LanesUnassigned Reconnecting"),
        ("KafkaDown", "ReaderStuck ApplierStuck ReaderDown ApplierDown LaneLagging Reconnecting"),
        ("ReaderDown", "ReaderLagging LaneLagging"),
        ("ApplierDown", "LaneLagging LanesUnassigned"),
    ],
)
def test_one_outage_is_one_page(cause: str, follows: str) -> None:
    assert {f"Leadstream{alert}" for alert in follows.split()} <= inhibited(f"Leadstream{cause}")


def test_what_would_be_lost_is_never_held_back_by_what_causes_it() -> None:
    for alert, severity in ALERTS.items():
        assert "LeadstreamLossImminent" not in inhibited(alert)
        assert "LeadstreamChangesLost" not in inhibited(alert)
        assert alert == "LeadstreamLossImminent" or "LeadstreamLossNear" not in inhibited(alert)
        if severity == "warn":
            assert not {held for held in inhibited(alert) if ALERTS[held] == "page"}
