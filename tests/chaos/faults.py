"""What goes wrong: each fault disturbs a running trial and leaves it with what it needs to repair itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Final

import psutil
import psycopg
import pymysql
from pymysql.constants import ER

from tests.chaos.applier_log import gave_up_lanes, got_lanes, holds_lanes
from tests.chaos.caseload import Full, Long
from tests.chaos.connections import cut
from tests.demo.company import Address
from tests.support.processes import Process, ProcessFailed
from tests.support.waiting import NeverCame

if TYPE_CHECKING:
    from tests.chaos.trial import Trial

SESSION_SECONDS: Final = 10.0
"""How long Kafka waits for an applier that says nothing, by our default."""
_STOPPED_SECONDS: Final = SESSION_SECONDS + 2.0
_POLL_SECONDS: Final = 0.1
_FENCED_SECONDS: Final = 30.0
_MOST_APPLIERS: Final = 4
_LANE_ROWS: Final = 6000
"""More than twice what an applier takes in of a lane by default."""

Fault = Callable[["Trial", Random], None]


class NotFenced(Exception):
    """A process that was overtaken by another one did not notice."""


def kill_reader(trial: Trial, _: Random) -> None:
    """The reader crashes."""
    _crash(trial.pipeline.reader)


def kill_applier(trial: Trial, random: Random) -> None:
    """An applier crashes."""
    _crash(random.choice(trial.pipeline.appliers))


def kill_everything(trial: Trial, _: Random) -> None:
    """The machine with all of our processes crashes."""
    for process in trial.pipeline.processes:
        process.check()
        process.kill()
    for process in trial.pipeline.processes:
        process.start()


def zombie_applier(trial: Trial, random: Random) -> None:
    """An applier stands still for longer than its session lasts, others take over, and it wakes up and notices."""
    process = random.choice(trial.pipeline.appliers)
    process.check()
    others = {one: len(_lines(one)) for one in trial.pipeline.appliers if one is not process}
    process.send_signal(signal.SIGSTOP)
    time.sleep(_STOPPED_SECONDS)
    before = _lines(process)
    process.send_signal(signal.SIGCONT)
    if holds_lanes(before):
        _must_give_up(process, len(before), others)


def zombie_reader(trial: Trial, _: Random) -> None:
    """The reader stands still, another one takes over, and it wakes up."""
    zombie, successor = trial.pipeline.reader, trial.another_reader()
    zombie.check()
    zombie.send_signal(signal.SIGSTOP)
    successor.start()
    successor.wait_for("reader_connected")
    trial.pipeline.reader = successor
    zombie.send_signal(signal.SIGCONT)
    _must_be_fenced(zombie)


def second_reader(trial: Trial, _: Random) -> None:
    """Somebody starts a second reader by accident: the newer one goes on, the older one ends."""
    older, newer = trial.pipeline.reader, trial.another_reader()
    older.check()
    newer.start()
    trial.pipeline.reader = newer
    _must_be_fenced(older)


def add_applier(trial: Trial, random: Random) -> None:
    """One more applier, or one fewer where there are enough."""
    if len(trial.pipeline.appliers) >= _MOST_APPLIERS:
        remove_applier(trial, random)
        return
    process = trial.another_applier()
    trial.pipeline.appliers.append(process)
    process.start()


def remove_applier(trial: Trial, random: Random) -> None:
    """One applier is ended in good order; the last one stays."""
    if len(trial.pipeline.appliers) > 1:
        process = trial.pipeline.appliers.pop(random.randrange(len(trial.pipeline.appliers)))
        process.check()
        process.terminate()
        code = process.wait()
        if code not in (0, -signal.SIGTERM):  # SIGTERM ends at once what has only just been started
            raise ProcessFailed(f"{process.name} ended with exit code {code} after SIGTERM:\n{process.tail()}")


def restart_kafka(trial: Trial, random: Random) -> None:
    """All brokers crash and come back."""
    trial.ground.kafka.kill()
    time.sleep(random.uniform(0, 2))
    trial.ground.kafka.start()


def kill_broker(trial: Trial, random: Random) -> None:
    """One of several brokers crashes, and comes back after a while."""
    random.choice(trial.ground.kafka.nodes).kill()
    time.sleep(random.uniform(5, 8))
    trial.ground.kafka.start()
    time.sleep(2)  # in-sync again, before another one may go


def lose_broker(trial: Trial, random: Random) -> None:
    """One of several brokers crashes and stays away."""
    random.choice(trial.ground.kafka.nodes).kill()
    time.sleep(5)


def restart_postgres(trial: Trial, random: Random) -> None:
    """PostgreSQL crashes and recovers."""
    trial.ground.postgres.kill()
    time.sleep(random.uniform(0, 2))
    trial.ground.postgres.start()


def restart_mysql(trial: Trial, random: Random) -> None:
    """MySQL crashes and recovers, where it is the trial's own."""
    if trial.ground.mysql is not None:
        trial.ground.mysql.kill()
        time.sleep(random.uniform(0, 2))
        trial.ground.mysql.start()


def drop_mysql(trial: Trial, _: Random) -> None:
    """MySQL loses every connection of the company and of the reader, the binlog's too."""
    connection = Address.of(trial.pipeline.mysql_url).connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        own = cursor.fetchone()
        cursor.execute("SHOW PROCESSLIST")
        sessions = [(number, host) for number, _, host, *_ in cursor.fetchall() if (number,) != own]
        ports = _local_ports(trial.pipeline.reader.pid) | _local_ports(os.getpid())
        ours = {f"127.0.0.1:{port}" for port in ports}
        for number, host in sessions:
            if host in ours:
                try:
                    cursor.execute(f"KILL {number}")
                except pymysql.OperationalError as error:
                    if error.args[0] != ER.NO_SUCH_THREAD:
                        raise


def drop_postgres(trial: Trial, _: Random) -> None:
    """PostgreSQL loses every connection to the trial's database."""
    with psycopg.connect(trial.ground.postgres.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [trial.pipeline.name]
        )


def drop_kafka(trial: Trial, _: Random) -> None:
    """Reader and appliers lose every connection to Kafka."""
    ports = {int(node.rpartition(":")[2]) for node in trial.ground.kafka.url.split(",")}
    for process in trial.pipeline.processes:
        process.check()
        if process.pid is not None:
            try:
                cut(process.pid, ports)
            except PermissionError as error:  # as in containers that forbid it
                trial.say(f"no connection of {process.name} is cut: {error}")


def slow_transaction(trial: Trial, random: Random) -> None:
    """One transaction fills one lane far beyond what an applier takes in of it, and takes its time."""
    lanes = trial.pipeline.lanes
    random.choice(trial.caseloads).wanted = Full(_LANE_ROWS, random.uniform(0.5, 2), random.randrange(lanes), lanes)


def wide_transaction(trial: Trial, random: Random) -> None:
    """One transaction changes very many customers at once, in every lane, and takes its time."""
    caseload = random.choice(trial.caseloads)
    caseload.wanted = Long(min(500, len(caseload.customers) // 2), random.uniform(0.5, 2))


def hold_stream(trial: Trial, random: Random) -> None:
    """All appliers stand still for a moment, and then lag; none for so long that it loses its lanes."""
    for process in trial.pipeline.appliers:
        process.check()
        process.send_signal(signal.SIGSTOP)
    time.sleep(random.uniform(2, SESSION_SECONDS - 2))
    for process in trial.pipeline.appliers:
        process.send_signal(signal.SIGCONT)


def kill_net(trial: Trial, _: Random) -> None:
    """The safety net crashes in the middle of what it does, where there is one."""
    if trial.net is not None:
        trial.net.kill()


def outage_of_reader(trial: Trial, random: Random) -> None:
    """The reader crashes, and nobody starts it for minutes."""
    trial.pipeline.reader.check()
    trial.pipeline.reader.kill()
    _endure(trial, random)


def outage_of_appliers(trial: Trial, random: Random) -> None:
    """All appliers are away for minutes."""
    for process in trial.pipeline.appliers:
        process.check()
        process.kill()
    _endure(trial, random)


def outage_of_kafka(trial: Trial, random: Random) -> None:
    """All brokers are away for minutes."""
    trial.ground.kafka.kill()
    _endure(trial, random)


def outage_of_postgres(trial: Trial, random: Random) -> None:
    """PostgreSQL is away for minutes."""
    trial.ground.postgres.kill()
    _endure(trial, random)


def outage_of_mysql(trial: Trial, random: Random) -> None:
    """The company's server is away for minutes, where it is the trial's own; nobody works meanwhile."""
    if trial.ground.mysql is not None:
        trial.ground.mysql.kill()
        _endure(trial, random)


OUTAGES: Final[dict[str, Fault]] = {
    "outage-of-reader": outage_of_reader,
    "outage-of-appliers": outage_of_appliers,
    "outage-of-kafka": outage_of_kafka,
    "outage-of-postgres": outage_of_postgres,
    "outage-of-mysql": outage_of_mysql,
}
"""What may be away for minutes. Whatever it was, a service manager starts what ended over it."""

FAULTS: Final[dict[str, Fault]] = {
    "kill-reader": kill_reader,
    "kill-applier": kill_applier,
    "kill-everything": kill_everything,
    "zombie-applier": zombie_applier,
    "zombie-reader": zombie_reader,
    "second-reader": second_reader,
    "add-applier": add_applier,
    "remove-applier": remove_applier,
    "restart-kafka": restart_kafka,
    "restart-postgres": restart_postgres,
    "restart-mysql": restart_mysql,
    "drop-mysql": drop_mysql,
    "drop-postgres": drop_postgres,
    "drop-kafka": drop_kafka,
    "slow-transaction": slow_transaction,
    "wide-transaction": wide_transaction,
    "hold-stream": hold_stream,
    "kill-net": kill_net,
}
"""By the names that the command line knows; `kill-broker` is for clusters only."""
CLUSTER_FAULTS: Final[dict[str, Fault]] = {"kill-broker": kill_broker}


def _endure(trial: Trial, random: Random) -> None:
    """Waits for as long as an outage of the trial lasts, and has everything run again."""
    seconds = random.uniform(*trial.outage_seconds)
    trial.say(f"          … for {seconds:.0f} s")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        trial.company.check()
        time.sleep(_POLL_SECONDS)
    for server in (trial.ground.kafka, trial.ground.postgres, trial.ground.mysql):
        if server is not None:
            server.start()
    for process in trial.pipeline.processes:
        if process.pid is None:
            process.start()
    trial.catch_up(seconds)


def _crash(process: Process) -> None:
    process.check()
    process.kill()
    process.start()


def _must_be_fenced(process: Process) -> None:
    code = process.wait()
    if code != 1 or "another reader took over" not in process.tail():
        raise NotFenced(f"{process.name} ended with exit code {code}, not because it was fenced:\n{process.tail()}")


def _must_give_up(process: Process, seen: int, others: Mapping[Process, int]) -> None:
    """The applier has to say, behind the lines seen, that its lanes are no longer its own, where others got lanes."""

    def gave_up() -> bool:
        return gave_up_lanes(_lines(process)[seen:])

    try:
        process.until(gave_up, "it gave up its lanes", _FENCED_SECONDS)
    except NeverCame:
        if not any(got_lanes(_lines(other)[before:]) for other, before in others.items()):
            return  # for Kafka its session was not over
        process.until(gave_up, f"{process.name}, which slept through its session, gave up its lanes")


def _lines(process: Process) -> list[str]:
    """Whole lines of its log."""
    text = process.log.read_text(encoding="utf-8", errors="replace")
    return text[: text.rfind("\n") + 1].split("\n")[:-1]


def _local_ports(pid: int | None) -> set[int]:
    if pid is None:
        return set()
    return {one.laddr.port for one in psutil.Process(pid).net_connections("tcp") if one.raddr}
