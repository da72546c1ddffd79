"""What the containers are told; starting them needs a Docker engine with images."""

from pathlib import Path

import pytest

from tests.servers import settings
from tests.servers.processes import ProcessId
from tests.servers.providers.container_plans import IMAGES, _variable, plan, plan_kafka
from tests.servers.state import Record

OWNER = ProcessId(1, 0, "", "")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADSTREAM_SERVERS_DIR", str(tmp_path))


def record(kind: str, owner: ProcessId | None = None) -> Record:
    return Record(kind, kind, "containers", settings.url(kind, 12345), (12345,), owner=owner)


@pytest.mark.parametrize("kind", IMAGES)
def test_every_kind_has_a_plan(kind: str) -> None:
    made = plan(kind, record(kind), ())
    assert made.kind == kind
    assert made.port in {3306, 5432, 9092}


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_own_options_stand_last_and_win(kind: str) -> None:
    assert list(plan(kind, record(kind), ["--server-id=77"]).command)[-1] == "--server-id=77"


def test_kafka_properties_become_the_variables_its_image_reads() -> None:
    assert _variable("min.insync.replicas") == "KAFKA_MIN_INSYNC_REPLICAS"
    assert _variable("a_b.c-d") == "KAFKA_A__B_C___D"


def test_a_broker_tells_clients_the_published_port_and_brokers_its_name() -> None:
    broker = plan_kafka(record("kafka", OWNER), ["log.retention.hours=1"], 2, ["one", "two", "three"], "network")
    assert broker.environment["KAFKA_ADVERTISED_LISTENERS"] == "CLIENTS://127.0.0.1:12345,BROKERS://two:9093"
    assert broker.environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == "1@one:9094,2@two:9094,3@three:9094"
    assert broker.environment["KAFKA_DEFAULT_REPLICATION_FACTOR"] == "3"
    assert broker.environment["KAFKA_LOG_RETENTION_HOURS"] == "1"
    assert broker.extras == {"network": "network"}


def test_the_variables_of_the_compose_file_name_other_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_IMAGE", "mirror.example.org/mysql:8.4")
    assert plan("mysql", record("mysql"), ()).image == "mirror.example.org/mysql:8.4"
    assert plan("kafka", record("kafka"), ()).image == IMAGES["kafka"]
