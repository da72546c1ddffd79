"""Versions of servers are chosen by variables, kept apart on disk, and their outcomes told in a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.reference.versions import page
from tests.servers import ServerError, versions
from tests.servers.kafka import release_of
from tests.servers.places import home
from tests.servers.providers.container_plans import image
from tests.versions.cases import Cases
from tests.versions.plan import COMBINATIONS
from tests.versions.results import FILE

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def nothing_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEADSTREAM_SERVERS_DIR", str(tmp_path / "servers"))
    for kind in versions.KINDS:
        monkeypatch.delenv(versions.variable(kind), raising=False)
        monkeypatch.delenv(f"{kind.upper()}_IMAGE", raising=False)


def test_servers_of_a_named_version_have_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert home() == tmp_path / "servers"
    monkeypatch.setenv("LEADSTREAM_POSTGRES_VERSION", "18")
    assert home() == tmp_path / "servers" / "versions" / "postgres-18"
    monkeypatch.setenv("LEADSTREAM_MARIADB_VERSION", "11.8")
    assert home() == tmp_path / "servers" / "versions" / "mariadb-11.8-postgres-18"


def test_a_named_version_chooses_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    assert image("mariadb") == "mariadb:11.4"
    monkeypatch.setenv("LEADSTREAM_MARIADB_VERSION", "11.8")
    monkeypatch.setenv("LEADSTREAM_KAFKA_VERSION", "3.9")
    assert (image("mariadb"), image("kafka")) == ("mariadb:11.8", "apache/kafka:3.9.1")
    monkeypatch.setenv("MARIADB_IMAGE", "mirror.example/mariadb:11.8")
    assert image("mariadb") == "mirror.example/mariadb:11.8"


def test_a_kafka_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(ServerError, match=r"Kafka 2\.0 is not known here; LEADSTREAM_KAFKA_VERSION may be 3\.9, 4\.1"):
        release_of("2.0")


def test_what_a_combination_runs_is_there() -> None:
    missing = {name for combination in COMBINATIONS for name in combination.tests if not (ROOT / name).exists()}
    assert missing == set()


def test_the_page_tells_of_every_combination_that_was_run() -> None:
    text = page()
    kept = set(json.loads(FILE.read_text()))
    assert kept <= {combination.name for combination in COMBINATIONS}
    assert [name for name in kept if f"| {name} |" not in text] == []


def report(path: Path, *cases: tuple[str, str]) -> Path:
    """What pytest writes of tests: their names and how they ended."""
    told = {"passed": "", "failed": "<failure/>", "broken": "<error/>", "skipped": '<skipped message="no wheel"/>'}
    body = "".join(f'<testcase classname="tests.a" name="{name}">{told[end]}</testcase>' for name, end in cases)
    path.write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")
    return path


def test_a_test_counts_as_it_ended_at_last(tmp_path: Path) -> None:
    cases = Cases()
    cases.add(report(tmp_path / "1", ("a", "passed"), ("b", "failed"), ("c", "broken"), ("d", "skipped")))
    cases.add(report(tmp_path / "2", ("b", "passed"), ("c", "failed")))
    assert cases.counts() == {
        "passed": 2, "failed": 1, "skipped": 1, "second_try": 1, "failures": ["tests.a.c"], "skips": {"no wheel": 1},
    }  # fmt: skip
