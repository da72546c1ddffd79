"""The commands as a newcomer meets them: help, wrong usage, missing settings, colours, Ctrl-C."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer.main
from rich.text import Text

import consumer.cli
import reconciler.cli
from consumer import ending
from tests.support.environments import bare

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
WELL = {
    "REPLICA_DATABASE_URL": "mysql://u:secret@127.0.0.1:1/db",
    "DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/db",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
}


def commands() -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for program, app in (("consumer", consumer.cli.app), ("reconciler", reconciler.cli.app)):
        for name, command in getattr(typer.main.get_command(app), "commands", {}).items():
            nested = getattr(command, "commands", None)
            inner = nested.items() if nested else [(None, command)]
            found += [(" ".join(filter(None, (program, name, sub))), one) for sub, one in inner]
    return found


def run(line: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = line.split()
    return subprocess.run(
        [str(BIN / program), *arguments], env=bare(**settings), cwd=folder, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(("line", "command"), commands())
def test_every_command_says_what_it_does_in_a_line_and_gives_an_example(line: str, command: object) -> None:
    text = str(getattr(command, "help", ""))
    assert text.endswith(".")
    assert "\n" not in text
    example = str(getattr(command, "epilog", ""))
    assert example.startswith("Example: ")
    assert line in example


@pytest.mark.parametrize(("line", "command"), commands())
def test_help_shows_every_word_as_it_is_written(line: str, command: Any) -> None:
    texts = [command.help, command.epilog, *(getattr(option, "help", None) for option in command.params)]
    for text in filter(None, texts):
        assert Text.from_markup(text).plain == text, f"{line}: what stands in brackets is markup to --help"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("consumer audit --last 99999999999d", "99999999999d reaches back beyond any time"),
        ("consumer audit --last 9999999d", "reaches back beyond any time"),
        ("consumer audit --from yesterday", "yesterday is no time; give it as 2026-11-29T14:00, in UTC"),
        ("consumer audit --from 2026-11-30 --to 2026-11-29", "the stretch ends before it begins"),
        ("consumer nothing", "No such command"),
        ("consumer explain x", "integer"),
        ("consumer explain 99999999999999999999", "less than or equal to"),
        ("consumer dead-letters show x", "integer"),
        ("consumer dead-letters discard", "no dead letter was named"),
        ("consumer dead-letters retry 1 --all", "not both"),
        ("reconciler run nothing", "there are new-users"),
        ("reconciler verify", "REPLICA_DATABASE_URL is not set"),
        ("consumer status", "KAFKA_BOOTSTRAP_SERVERS is not set"),
    ],
)
def test_wrong_usage_and_missing_settings_end_with_2_and_what_to_do(tmp_path: Path, line: str, said: str) -> None:
    done = run(line, tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("port", ["zz", "99999"])
def test_a_port_that_is_no_number_is_a_wrong_setting(tmp_path: Path, port: str) -> None:
    done = run(
        "consumer explain 3", tmp_path, **{**WELL, "REPLICA_DATABASE_URL": f"mysql://u:secret@127.0.0.1:{port}/db"}
    )
    assert done.returncode == 2
    assert "REPLICA_DATABASE_URL is wrong: its port should be a number" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("line", ["consumer setup", "consumer status"])
def test_a_variable_that_is_no_property_of_kafkas_client_is_a_wrong_setting(tmp_path: Path, line: str) -> None:
    done = run(line, tmp_path, **WELL, KAFKA_SERVICE_HOST="10.0.0.1")
    assert done.returncode == 2
    assert "No such configuration property" in done.stderr
    assert "service.host" in done.stderr
    assert "look at the variables KAFKA_" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", ["consumer explain 3", "reconciler verify", "reconciler run all", "reconciler age"])
def test_a_server_that_is_away_ends_with_1_and_one_sentence(tmp_path: Path, line: str) -> None:
    done = run(line, tmp_path, **WELL)
    assert done.returncode == 1
    assert "PostgreSQL" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "secret" not in done.stderr


@pytest.mark.parametrize("line", ["consumer explain 3", "reconciler verify"])
def test_ctrl_c_ends_with_130_while_a_server_is_silent(tmp_path: Path, line: str) -> None:
    program, *arguments = line.split()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/db?connect_timeout=2"  # as long as libpq waits
        process = subprocess.Popen(
            [str(BIN / program), *arguments], env=bare(**{**WELL, "DATABASE_URL": url}), cwd=tmp_path,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        with connection:
            assert process.wait(60) == 130


@pytest.mark.parametrize("quiet", [False, True])
def test_errors_are_a_plain_sentence_on_a_terminal_and_coloured_unless_no_color(tmp_path: Path, quiet: bool) -> None:
    master, slave = pty.openpty()
    settings = {"NO_COLOR": "1"} if quiet else {}
    line = [str(BIN / "consumer"), "status"]
    assert subprocess.run(line, env=bare(**settings), cwd=tmp_path, stderr=slave, check=False).returncode == 2
    os.close(slave)
    text = os.read(master, 10_000).decode()
    os.close(master)
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in text
    assert ("\x1b[" in text) is not quiet
    assert "{" not in text


@pytest.mark.parametrize(
    ("module", "client"), [("consumer.applier.applier", "pymysql"), ("consumer.reader.reader", "psycopg")]
)
def test_no_process_loads_the_client_of_a_server_it_never_speaks_to(module: str, client: str) -> None:
    program = f"import sys, consumer.cli, consumer.doctor.quick, {module}; print({client!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(("program", "command"), [("consumer", "dead-letters"), ("reconciler", "attribution")])
def test_help_loads_neither_settings_nor_logs_nor_the_client_of_a_server(program: str, command: str) -> None:
    """It is asked often, by people who wait; these took it 1.4 s."""
    heavy = {"pydantic", "structlog", "confluent_kafka", "psycopg", "pymysql", "sqlalchemy", "prometheus_client"}
    asking = (
        f"import sys, {program}.cli\nsys.argv = [{program!r}, '--help']\n"
        f"try:\n    {program}.cli.main()\nexcept SystemExit:\n    print('LOADED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", asking], capture_output=True, text=True, check=True, cwd=ROOT)
    help_, _, loaded = done.stdout.partition("LOADED")
    assert command in help_
    assert "typer" in loaded.split()
    assert heavy & set(loaded.split()) == set()


def test_whatever_fails_after_ctrl_c_ends_with_130_and_before_it_as_what_it_is() -> None:
    def fails() -> None:
        raise LookupError

    def interrupted() -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise LookupError

    before = signal.getsignal(signal.SIGINT)
    try:
        assert ending.run(interrupted, lambda _: 1) == 130
        assert ending.run(fails, lambda _: 7) == 7
        with pytest.raises(LookupError):
            ending.run(fails, lambda _: None)
    finally:
        signal.signal(signal.SIGINT, before)
