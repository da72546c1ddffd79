"""Short trials with fixed seeds: whatever is killed, stopped or restarted, what is recorded is exact."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS, lose_broker
from tests.chaos.trial import Ground, Load, Trial

pytestmark = pytest.mark.servers


def test_conversions_are_exact_although_everything_is_killed_and_restarted_beside_a_dialler(
    ground: Ground, tmp_path: Path
) -> None:
    names = (
        "kill-applier",
        "slow-transaction",
        "kill-reader",
        "restart-postgres",
        "drop-mysql",
        "restart-kafka",
        "drop-kafka",
        "drop-postgres",
        "kill-everything",
    )
    with Trial(ground, tmp_path, 11, Load(dialler=True)) as trial:
        trial.prepare()
        trial.disturb({name: FAULTS[name] for name in names}, pause=0.8)
        assert trial.judge() == []


def test_processes_that_wake_up_after_others_took_over_are_fenced(ground: Ground, tmp_path: Path) -> None:
    names = ("zombie-applier", "add-applier", "second-reader", "remove-applier", "zombie-reader")
    with Trial(ground, tmp_path, 12, Load(appliers=2)) as trial:
        trial.prepare()
        trial.disturb({name: FAULTS[name] for name in names}, pause=0.5)
        assert trial.judge() == []


def test_one_of_three_brokers_may_be_killed(tmp_path: Path) -> None:
    faults = {"kill-reader": FAULTS["kill-reader"], "lose-broker": lose_broker, "kill-applier": FAULTS["kill-applier"]}
    with ExitStack() as stack:
        ground = Ground.prepare(stack, brokers=3)
        load = Load(rate=100, customers=1000, appliers=2)
        trial = stack.enter_context(Trial(ground, tmp_path, 13, load, settings={"TOPIC_REPLICATION_FACTOR": "3"}))
        trial.prepare()
        trial.disturb(faults, pause=2.0)
        assert trial.judge() == []


def test_the_safety_net_at_work_beside_a_lagging_stream_alters_nothing(ground: Ground, tmp_path: Path) -> None:
    names = ("hold-stream", "kill-net", "wide-transaction", "kill-applier", "hold-stream")
    with Trial(ground, tmp_path, 14, Load(rate=200, customers=1500, appliers=2, dialler=True, net=True)) as trial:
        trial.prepare()
        for name in names:
            trial.disturb({name: FAULTS[name]}, pause=1.0)
        assert trial.judge() == []
