"""How long processes have to end before they are killed."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

import pytest
import yaml

from consumer.settings import ReplicaSettings
from reconciler.replica import ReplicaReads
from tests.servers.places import PROJECT

BASE: Final = PROJECT / "deploy" / "kubernetes" / "base"
HANGING_SECONDS: Final[float] = (
    ReplicaSettings.model_fields["replica_query_seconds"].default
    + inspect.signature(ReplicaReads).parameters["grace_seconds"].default
)
"""How long a MySQL that says nothing holds up whoever has asked it something."""


def compose(service: str) -> float:
    services: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    return float(services[service]["stop_grace_period"].removesuffix("s"))


def pod(name: str) -> float:
    found: dict[str, Any] = yaml.safe_load((BASE / f"{name}.yaml").read_text().partition("\n---")[0])["spec"]
    spec = found.get("jobTemplate", {}).get("spec", found)["template"]["spec"]
    return float(spec.get("terminationGracePeriodSeconds", 30))


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(compose("reconciler"), id="compose"),
        pytest.param(compose("backfill"), id="compose, backfill"),
        pytest.param(pod("reconciler"), id="kubernetes"),
        pytest.param(pod("verify"), id="kubernetes, verify"),
    ],
)
def test_a_mysql_that_hangs_does_not_get_the_reconciler_killed(seconds: float) -> None:
    assert seconds > HANGING_SECONDS


def test_the_unit_of_the_reconciler_has_as_long_as_its_pod() -> None:
    page = (PROJECT / "docs" / "how-to" / "deploying.md").read_text()
    assert re.findall(r"the reconciler's has\s`TimeoutStopSec=(\d+)`", page) == [f"{pod('reconciler'):.0f}"]
