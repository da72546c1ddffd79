"""What a run works with: sessions on both servers, opened for it and ended after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Final

from consumer.settings import DatabaseSettings, DiscoverySettings, ReplicaSettings, demand, load, refuse_word_lists
from consumer.store.leads import LeadStore
from reconciler.postgres import Postgres
from reconciler.replica import Known, ReplicaReads
from reconciler.runs.backfill import Backfill
from reconciler.runs.repair import Repairer
from reconciler.runs.run_log import Runs
from reconciler.runs.sweeps import Sweeper, SweepPlan
from reconciler.runs.verify import Verification
from reconciler.runs.wait_for_stream import LaneMonitor
from reconciler.settings import SweepSettings

COMMAND_LINE: Final = "command line"
"""Who starts what somebody typed."""
WAIT_SECONDS: Final = 30.0
"""How long that waits for a run of the same name: the schedule's own are short as a rule."""


@dataclass(frozen=True)
class Settings:
    """What the environment says about runs."""

    replica: ReplicaSettings
    database: DatabaseSettings
    discovery: DiscoverySettings
    sweeps: SweepSettings


def load_settings() -> Settings:
    """Reads the environment. Raises SettingsError."""
    demand(ReplicaSettings, DatabaseSettings, DiscoverySettings, SweepSettings)
    refuse_word_lists()
    return Settings(load(ReplicaSettings), load(DatabaseSettings), load(DiscoverySettings), load(SweepSettings))


@dataclass(frozen=True)
class Tools:
    """Sessions that open when first used; for one thread."""

    settings: Settings
    replica: ReplicaReads
    store: LeadStore
    postgres: Postgres
    runs: Runs
    stop: Event

    @property
    def discovery(self) -> DiscoverySettings:
        """What of the safety net runs, and how far it looks."""
        return self.settings.discovery

    def rest(self) -> None:
        """Ends the sessions with PostgreSQL, which are opened again when needed."""
        self.store.close()
        self.postgres.close()

    def repairer(self, *, dry_run: bool, gives_up: bool = False) -> Repairer:
        """What compares and repairs."""
        monitor = LaneMonitor(
            self.postgres.lanes, self.discovery.recheck_wait_seconds, self.settings.sweeps.patience_seconds, self.stop
        )
        return Repairer(
            self.replica,
            self.store,
            self.postgres,
            monitor,
            stop=self.stop,
            batch_size=self.discovery.discovery_batch_size,
            dry_run=dry_run,
            gives_up=gives_up,
        )

    def sweeper(self, *, dry_run: bool, gives_up: bool = False) -> Sweeper:
        """What runs sweeps."""
        plan = SweepPlan(
            self.settings.sweeps.window_overlap_seconds,
            self.discovery.recent_activity_hours,
            self.discovery.shadow_mode,
        )
        return Sweeper(self.replica, self.postgres, self.runs, self.repairer(dry_run=dry_run, gives_up=gives_up), plan)

    @contextmanager
    def backfill(self) -> Iterator[Backfill]:
        """What gives everybody a first stint, with the session for reading ahead."""
        with closing(Postgres(self.settings.database.conninfo)) as ahead:
            yield Backfill(
                self.replica,
                self.store,
                ahead,
                self.runs,
                batch_size=self.settings.sweeps.backfill_batch_size,
                wait_seconds=self.discovery.recheck_wait_seconds,
                stop=self.stop,
            )

    @contextmanager
    def verification(self, *, repair: bool, gives_up: bool = False) -> Iterator[Verification]:
        """What compares everybody, with the second session that it needs."""
        replica = self.settings.replica
        with closing(ReplicaReads(replica.address, replica.replica_query_seconds, stop=self.stop)) as checksum_session:
            yield Verification(
                self.repairer(dry_run=not repair, gives_up=gives_up),
                checksum_session,
                self.runs,
                stop=self.stop,
                shadow=self.discovery.shadow_mode,
            )


class Replicas:
    """Sessions on the replica that outlive a run, so that each run need not log in and look at the tables again."""

    def __init__(self, settings: ReplicaSettings, stop: Event, known: Known | None = None) -> None:
        """`known` is what other sessions of the process know too."""
        self._settings = settings
        self._stop = stop
        self._known = known or Known()
        self._idle: list[ReplicaReads] = []

    @contextmanager
    def one(self) -> Iterator[ReplicaReads]:
        """A session for one run; any thread may ask. One that a run failed with is ended."""
        try:
            replica = self._idle.pop()
        except IndexError:
            seconds = self._settings.replica_query_seconds
            replica = ReplicaReads(self._settings.address, seconds, stop=self._stop, known=self._known)
        try:
            yield replica
        except BaseException:
            replica.close()
            raise
        self._idle.append(replica)

    def close(self) -> None:
        """Ends those that are idle."""
        while self._idle:
            self._idle.pop().close()


@contextmanager
def open_tools(
    settings: Settings, stop: Event, replicas: Replicas | None = None, started_by: str = COMMAND_LINE
) -> Iterator[Tools]:
    """Tools for one run, which `started_by` starts; `stop` ends their waiting.

    Raises StoreError where PostgreSQL is away or not prepared.
    """
    with (
        closing(Replicas(settings.replica, stop)) as own,
        (replicas or own).one() as replica,
        closing(Postgres(settings.database.conninfo)) as postgres,
        LeadStore(settings.database.conninfo, postgres.lane_count(), settings.discovery.shadow_mode, "sweep") as store,
    ):
        waits = WAIT_SECONDS if started_by == COMMAND_LINE else 0.0
        days, lanes = settings.sweeps.runs_kept_days, store.lane_count
        runs = Runs(postgres, days, started_by, waits=waits, stop=stop, lanes=lanes)
        yield Tools(settings, replica, store, postgres, runs, stop)
