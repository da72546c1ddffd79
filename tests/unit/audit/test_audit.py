"""What an audit says of what it could not read."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consumer.audit import audit, tool
from consumer.audit.audit import Audit
from consumer.audit.rows import Row, part_of
from consumer.commands.audit import exit_code
from consumer.settings import KafkaSettings

START, END, COMPRESSED = ("binlog.000001", 4), ("binlog.000001", 900), ("binlog.000001", 400)


@pytest.fixture
def auditor() -> audit._Auditor:
    """One that has had a tool read what is compressed, on servers that nobody asks."""
    replica = SimpleNamespace(database=lambda: "shop", is_mariadb=lambda: False)
    source = SimpleNamespace(address="db:3306")
    found = audit._Auditor(
        cast(Any, source),
        KafkaSettings(kafka_bootstrap_servers="kafka:9092"),
        cast(Any, replica),
        cast(Any, SimpleNamespace(lost=lambda _: [])),
        cast(Any, None),
        lambda *_: None,
        False,
    )
    found._by_tool = [COMPRESSED]
    return found


def test_a_tool_that_fails_as_it_reads_again_leaves_a_gap(
    auditor: audit._Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Iterator[Row]:
        raise tool.ToolFailed("mysqlbinlog ended with exit code 1: it says nothing")
        yield

    monkeypatch.setattr(tool, "rows", fail)
    found = Audit(0, 1, START, END)
    auditor._look_closely(found, [part_of(*COMPRESSED)], 0)
    (gap,) = found.gaps
    assert gap.endswith("of the binlog cannot be judged: mysqlbinlog ended with exit code 1: it says nothing")
    assert exit_code(found) == 4
