"""Rules and dashboards in other shapes: `make alerts` writes the manifests for Prometheus's operator.

The one description of the rules is `deploy/prometheus/rules.yml` and `alerts.yml`; what is written here comes of it.
`python -m deploy.alerts --runbook https://wiki.example.org/leadstream/runbook.md --into folder` writes the rules, and a
PrometheusRule, with `runbook_url` at that address, so that whoever is paged can click on it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from textwrap import indent
from typing import Final

from deploy import dashboards

RULES: Final = Path(__file__).with_name("prometheus")
FILES: Final = ("rules.yml", "alerts.yml")
OVERLAY: Final = Path(__file__).parent / "kubernetes" / "overlays" / "prometheus-operator"
RUNBOOK: Final = "docs/how-to/runbook.md"
"""Where links lead without an address of the operator's: to the file in this repository."""
MADE: Final = "# Made by `make alerts`; not edited by hand.\n"


def rules(file: str, runbook: str = RUNBOOK) -> str:
    """A file of rules with its links led to the runbook at that address."""
    text = (RULES / file).read_text(encoding="utf-8")
    return text.replace(f"runbook_url: {RUNBOOK}#", f"runbook_url: {runbook}#")


def prometheus_rule(runbook: str = RUNBOOK) -> str:
    """All rules as a PrometheusRule."""
    groups = "".join(rules(file, runbook).partition("groups:\n")[2] for file in FILES)
    head = """apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: leadstream
spec:
  groups:
"""
    return MADE + head + indent(groups, "  ")


def config_maps() -> str:
    """Every dashboard as a ConfigMap, as Grafana's sidecar looks for them."""
    return MADE + "---\n".join(
        f"""apiVersion: v1
kind: ConfigMap
metadata:
  name: leadstream-dashboard-{name}
  labels: {{grafana_dashboard: "1"}}
data:
  leadstream-{name}.json: |
{indent(dashboards.text(dashboard), "    ")}"""
        for name, dashboard in dashboards.DASHBOARDS.items()
    )


def write_overlay(folder: Path) -> None:
    """Writes what the overlay for Prometheus's operator is made of."""
    (folder / "rules.yaml").write_text(prometheus_rule(), encoding="utf-8")
    (folder / "dashboards.yaml").write_text(config_maps(), encoding="utf-8")


def write_rules(folder: Path, runbook: str) -> None:
    """Writes the rules for a Prometheus with and without the operator, their links led to `runbook`."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        (folder / file).write_text(rules(file, runbook), encoding="utf-8")
    (folder / "prometheusrule.yaml").write_text(prometheus_rule(runbook), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.alerts", description=__doc__.partition("\n")[0])
    parser.add_argument("--runbook", help="address of the runbook, without #", default=RUNBOOK)
    parser.add_argument("--into", type=Path, help="folder for the rules; without it, the overlay is written")
    given = parser.parse_args(arguments)
    if given.into is None and given.runbook != RUNBOOK:
        parser.error("--runbook takes --into: the files in this repository keep their links")
    if given.into is None:
        write_overlay(OVERLAY)
    else:
        write_rules(given.into, given.runbook)


if __name__ == "__main__":
    main()
