"""The image and the compose file as an operator meets them: built, brought up, used, looked into, ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import images
from tests.deploy.conftest import IMAGE
from tests.deploy.engine import Engine
from tests.deploy.stack import STREAM, Stack
from tests.servers.places import ServerError
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1800)]

TOOLS = ("gcc", "cc", "ld", "as", "make", "strip", "pip", "pip3", "apt-get", "dpkg", "perl")


def test_the_image_is_smaller_than_200_megabytes(docker: Engine, names: dict[str, str]) -> None:
    size = images.size(docker, IMAGE)
    print(f"leadstream {size / 1e6:.0f} MB on a base of {images.size(docker, names['BASE_IMAGE']) / 1e6:.0f} MB")
    assert size < 200_000_000


@pytest.mark.usefixtures("names")
def test_the_image_has_no_compiler_and_no_way_to_install_anything(docker: Engine) -> None:
    look = f"for tool in {' '.join(TOOLS)}; do command -v $tool; done; python -m pip --version; python -m ensurepip"
    result = docker.run("run", "--rm", IMAGE, "sh", "-c", look)
    assert result.stdout == ""
    assert "No module named pip" in result.stderr
    assert "No module named ensurepip" in result.stderr


def test_the_image_keeps_nothing_of_the_machine_that_built_it(docker: Engine, names: dict[str, str]) -> None:
    settings = "cat /etc/pip.conf /etc/ssl/certs/ca-certificates.crt 2>/dev/null | sha256sum"
    ours, base = (docker.ask("run", "--rm", image, "sh", "-c", settings) for image in (IMAGE, names["BASE_IMAGE"]))
    assert ours == base


@pytest.mark.usefixtures("names")
def test_the_image_has_no_program_that_raises_rights(docker: Engine) -> None:
    assert docker.ask("run", "--rm", "--user=0", IMAGE, "find", "/", "-xdev", "-type", "f", "-perm", "/6000") == ""


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("package", ["consumer", "reconciler"])
def test_both_programs_start_in_a_container_that_may_write_nothing(docker: Engine, package: str) -> None:
    alone = ["--rm", "--read-only", "--network=none", "--cap-drop=ALL"]
    assert "Usage" in docker.ask("run", *alone, IMAGE, package, "--help")
    result = docker.run("run", *alone, IMAGE, package, "setup" if package == "consumer" else "verify")
    assert result.returncode == 2
    assert "DATABASE_URL is not set" in result.stderr


def test_a_signature_in_mysql_becomes_a_conversion_in_postgresql(stack: Stack) -> None:
    stack.mysql("INSERT INTO users (id, email_address) VALUES (8911, 'someone@example.org')")
    until(lambda: _queue(stack, 8911) == "unsigned_users", "the new user is in the queue", pause=0.5)
    stack.mysql("UPDATE users SET current_signature_file_id = 77 WHERE id = 8911")
    until(lambda: _conversions(stack, 8911) == "signature_obtained", "the conversion is recorded", pause=0.5)
    assert _queue(stack, 8911) == "none"


def test_the_processes_of_ours_run_without_root_and_without_rights(stack: Stack) -> None:
    for service in STREAM:
        assert stack.inside(service, "id", "-u") == "10001"
        capabilities = stack.inside(service, "sh", "-c", "grep -E 'Cap(Prm|Eff|Bnd)|NoNewPrivs' /proc/1/status")
        assert set(capabilities.split()[1::2]) == {"0000000000000000", "1"}
        refused = stack.inside(service, "sh", "-c", "touch /x /tmp/x /opt/leadstream/x 2>&1; true").splitlines()
        assert len(refused) == 3
        assert all("Read-only file system" in line for line in refused)


def test_the_account_in_mysql_may_read_three_tables_and_nothing_more(stack: Stack) -> None:
    stack.mysql("CREATE TABLE IF NOT EXISTS payroll (id INT PRIMARY KEY)")
    stack.mysql("SELECT count(*) FROM users, claims, claim_requirements", account="leadstream")
    for forbidden in (
        "SELECT * FROM payroll",
        "UPDATE users SET is_enabled = 0",
        "DELETE FROM claims",
        "CREATE TABLE mine (id INT)",
        "SELECT user FROM mysql.user",
        "SET GLOBAL binlog_format = 'ROW'",
    ):
        with pytest.raises(ServerError, match="denied"):
            stack.mysql(forbidden, account="leadstream")


def test_the_account_in_postgresql_may_not_touch_what_is_not_ours(stack: Stack) -> None:
    for forbidden in (
        "DELETE FROM conversions",
        "UPDATE conversions SET final_score = 1",
        "DELETE FROM user_call_scores",
        "DELETE FROM call_queue",
        "TRUNCATE call_queue",
        "ALTER TABLE user_call_scores ADD COLUMN mine int",
        "CREATE TABLE public.mine (id int)",
        "SELECT * FROM pg_authid",
    ):
        with pytest.raises(ServerError, match=r"permission denied|must be owner"):
            stack.postgres(forbidden, account="leadstream")


def test_setting_up_twice_changes_nothing(stack: Stack) -> None:
    assert "nothing changed" in stack.compose("run", "--rm", "--no-deps", "setup")


def test_the_status_page_knows_of_all_three_servers(stack: Stack) -> None:
    look = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/').read().decode())"
    until(lambda: "MySQL to Kafka" in stack.inside("reconciler", "python", "-c", look), "the reader's lag showed")
    page = stack.inside("reconciler", "python", "-c", look)
    assert "does not answer" not in page
    assert "signed" in page


def test_the_doctor_finds_nothing_that_fails_in_the_reconcilers_container(stack: Stack) -> None:
    said = json.loads(stack.inside("reconciler", "consumer", "doctor", "--json"))
    assert said["counts"]["failed"] == 0
    assert {check["server"] for check in said["checks"]} == {"mysql", "kafka", "postgres", "rules"}


def test_prometheus_finds_every_replica(stack: Stack) -> None:
    until(lambda: _up(stack) == {"reader": 1, "applier": 2, "reconciler": 1}, "all targets are up", pause=0.5)


def test_prometheus_evaluates_our_rules_and_nobody_is_paged(stack: Stack) -> None:
    until(lambda: _samples(stack, "leadstream:reader_lag_seconds") != [], "recording rules have data", pause=0.5)
    assert _samples(stack, 'ALERTS{alertstate="firing", severity="page"}') == []


def test_a_reader_that_loses_mysql_is_unhealthy_until_it_is_back(stack: Stack) -> None:
    check = ("sh", "-c", "HEALTH_SECONDS=5 python -m consumer.health; true")
    assert stack.inside("reader", *check) == "well"
    stack.compose("pause", "mysql")
    try:
        until(lambda: "its last batch was" in stack.inside("reader", *check), "the reader is not well", pause=0.5)
    finally:
        stack.compose("unpause", "mysql")
    until(lambda: stack.inside("reader", *check) == "well", "the reader is well again", pause=0.5)
    until(lambda: stack.health("mysql") == "healthy", "MySQL is healthy again", pause=0.5)


@pytest.mark.parametrize("service", STREAM)
def test_a_stop_ends_before_docker_kills_with_exit_code_0(stack: Stack, service: str) -> None:
    stack.compose("stop", service)
    states = [container["State"] for container in stack.inspect(service)]
    stack.compose("start", service)
    assert [state["ExitCode"] for state in states] == [0] * len(states)


def test_what_was_stopped_goes_on_where_it_stood(stack: Stack) -> None:
    stack.compose("stop", "reader", "applier")
    stack.mysql("INSERT INTO users (id, email_address) VALUES (8912, 'another@example.org')")
    stack.mysql("UPDATE users SET current_signature_file_id = 78 WHERE id = 8912")
    stack.compose("start", "reader", "applier")
    until(lambda: _conversions(stack, 8912) == "signature_obtained", "the conversion is recorded", pause=0.5)
    until(lambda: {stack.health(name) for name in STREAM} == {"healthy"}, "all are healthy again", pause=0.5)


def test_the_simulated_company_of_the_demo_profile_brings_conversions(stack: Stack) -> None:
    count = "SELECT count(*) FROM conversions"
    before = int(stack.postgres(count))
    stack.compose("--profile", "demo", "up", "--detach", "--no-build", "--no-deps", "company")
    until(lambda: int(stack.postgres(count)) >= before + 10, "ten more conversions are recorded", pause=0.5)
    stack.compose("--profile", "demo", "stop", "company")
    (container,) = stack.inspect("company")
    assert container["State"]["ExitCode"] == 0


def test_the_compose_file_can_be_read_with_every_profile(docker: Engine) -> None:
    result = docker.run_compose({}, "--profile", "*", "config", "--format", "json")
    services = json.loads(result.stdout)["services"]
    assert {
        "grafana",
        "company",
        "prometheus",
        "reader",
        "applier",
        "reconciler",
        "setup",
        "backfill",
    } <= services.keys()
    mounted = [
        Path(volume["source"])
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    assert mounted
    assert all(path.exists() for path in mounted)


def _queue(stack: Stack, user_id: int) -> str:
    return stack.postgres(f"SELECT current_queue_type FROM user_call_scores WHERE user_id = {user_id}")


def _conversions(stack: Stack, user_id: int) -> str:
    return stack.postgres(f"SELECT conversion_type FROM conversions WHERE user_id = {user_id}")


def _up(stack: Stack) -> dict[str, int]:
    """How many targets of each job Prometheus could scrape."""
    samples = _samples(stack, "sum by (job) (up)")
    return {sample["metric"]["job"]: int(sample["value"][1]) for sample in samples}


def _samples(stack: Stack, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers."""
    command = ["promtool", "query", "instant", "--format=json", "http://127.0.0.1:9090", query]
    found: list[dict[str, Any]] = json.loads(stack.inside("prometheus", *command))
    return found
