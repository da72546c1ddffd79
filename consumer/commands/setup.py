"""`consumer setup`: PostgreSQL, the topics, and the checkpoint that the reader starts from. Twice changes nothing."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Final

from consumer.binlog.position import Position
from consumer.binlog.stream import earliest_position
from consumer.leads.rule_file import DEFAULT, RuleFile
from consumer.mysql import comparing
from consumer.mysql.session import database_of, server_info
from consumer.settings import DatabaseSettings, DiscoverySettings, KafkaSettings, ReplicaSettings
from consumer.store.call_centre import attribution
from consumer.store.connection import classified, open_session
from consumer.store.lanes import lanes_there
from consumer.stream import topic_repair, topics
from consumer.stream.checkpoint import Checkpoint, Start
from consumer.stream.checkpoint_log import CheckpointLog, demand_database
from consumer.stream.producer import ReaderTransactions

FIRST_EPOCH: Final = 1


def prepare(
    replica: ReplicaSettings,
    database: DatabaseSettings,
    kafka: KafkaSettings,
    discovery: DiscoverySettings,
    start: Start,
    *,
    create_call_centre: bool = False,
    first_rules: RuleFile = DEFAULT,
    repair: bool = False,
    anew: bool = False,
) -> list[str]:
    """Makes everything ready and returns a sentence for each thing done; an empty list where nothing was to do.

    `create_call_centre` has the call centre's tables created though another schema has tables of these names.
    `first_rules` are put in force where there are none yet. `repair` gives topics back what somebody changed,
    and writes a checkpoint that was lost again; with `anew` one at the server's present.
    The checkpoint comes last: as long as it is missing, setup can simply be run again. An existing one stays; one of
    another database, or with another number of lanes, ends it before anything is done. Raises WrongDatabase,
    CheckpointUnreadable, and what the store's setup, the topics and the server raise.
    """
    from consumer.commands.begin_again import begin_again
    from consumer.commands.older_dead_letters import carry_over
    from consumer.store.schema import (
        setup as store_setup,  # SQLAlchemy and Alembic take longer to load than a reader to start
    )

    with CheckpointLog(kafka) as checkpoints:
        begun = checkpoints.newest()
        if begun is not None and begun.database not in ("", replica.address.database):
            demand_database(begun.database, database_of(replica.address), kafka.topic_prefix)
        checkpoints.last()  # refuses other LANES than the stream's, however many partitions there are
    lanes = lanes_there(database.conninfo)  # PostgreSQL answers, before anything is made in Kafka
    done = topic_repair.repair(kafka) if repair else []
    created = topics.prepare(kafka)
    done += [f"created topic {name}" for name in created]
    if repair and lanes:
        done += begin_again(replica, kafka, lanes, anew=anew)
    with CheckpointLog(kafka) as checkpoints:
        existing = checkpoints.last()
    epoch = existing.epoch if existing is not None else FIRST_EPOCH
    done += store_setup.prepare(
        database.conninfo,
        kafka.lanes,
        epoch,
        shadow=discovery.shadow_mode,
        begins=existing is None,
        create=create_call_centre,
        first_rules=first_rules,
        compare=partial(comparing.ask, replica),
    )
    done += carry_over(kafka, database.conninfo)
    if existing is None:
        first = starting_checkpoint(replica, kafka.lanes, start)
        _write(kafka, first)
        at = f"{first.file}:{first.pos}" + (f", GTID set {first.gtid_set}" if first.gtid_set else "")
        done.append(f"recorded the starting checkpoint: {start} on {replica.address}, {at}")
    return done


def warnings(database: DatabaseSettings, discovery: DiscoverySettings) -> list[str]:
    """A sentence for each thing that is in nobody's way, and that somebody will miss. Raises StoreUnavailable."""
    if discovery.shadow_mode:
        return []
    with classified(database.conninfo), open_session(database.conninfo, "leadstream setup") as connection:
        found = attribution.judge(attribution.collect(connection))
    return [] if found is None or found.fits else [f"{found.sentence}; {found.hint}"]


def starting_checkpoint(replica: ReplicaSettings, lanes: int, start: Start) -> Checkpoint:
    """The server's present position, or its earliest one, with every lane at number 1."""
    info = server_info(replica.address)
    begin = Position(info.gtid_set, info.file, info.pos)
    if start is Start.EARLIEST:
        begin = earliest_position(replica.address)
    return Checkpoint(
        epoch=FIRST_EPOCH,
        flavor=info.flavor,
        server=info.server,
        gtid_set=begin.gtid_set,
        file=begin.file,
        pos=begin.pos,
        version=0,
        next_seqs=[1] * lanes,
        database=database_of(replica.address),
    )


def _write(kafka: KafkaSettings, first: Checkpoint) -> None:
    with closing(ReaderTransactions(kafka, lambda: False)) as transactions:
        transactions.take_over()
        transactions.ready()
        transactions.commit(first)
        transactions.await_commit()
