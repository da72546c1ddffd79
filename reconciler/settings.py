"""The reconciler's own settings; those it shares with the stream stand in consumer.settings."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr

from consumer.settings import KafkaSettings, Words, _Settings
from reconciler.names import SWEEPS
from reconciler.tokens import demand_long, parse

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _sweeps(value: frozenset[str]) -> frozenset[str]:
    if unknown := value - set(SWEEPS):
        raise ValueError(f"{', '.join(sorted(unknown))}: there is no such sweep; there are {', '.join(SWEEPS)}")
    return value


def _weekdays(value: frozenset[str]) -> frozenset[str]:
    days = frozenset(day.lower() for day in value)
    if unknown := days - set(WEEKDAYS):
        raise ValueError(f"{', '.join(sorted(unknown))}: no weekday; write {', '.join(WEEKDAYS)}")
    return days


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"there is no time zone {value!r}; write one as Europe/London") from error
    return value


def _link(value: str) -> str:
    if value and not value.startswith(("https://", "http://")):
        raise ValueError(f"{value[:80]!r} is no address of a page; write one as https://grafana.example.com")
    return value


def _token(value: SecretStr | None) -> SecretStr | None:
    if value is not None and value.get_secret_value():
        demand_long(value.get_secret_value())
    return value


def _tokens(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        parse(value.get_secret_value())
    return value


class SweepSettings(_Settings):
    """Which sweeps run, and how patient they are."""

    sweeps: Annotated[Words, AfterValidator(_sweeps)] = frozenset(SWEEPS)
    """The sweeps that are switched on, separated by commas: they are brought in one at a time."""
    window_overlap_seconds: int = Field(default=600, ge=0)
    """How far a window reaches back before the end of the one before it: rows become visible after `created_at`."""
    patience_seconds: float = Field(default=300.0, gt=0)
    """How long drift waits for a lane that moves but lags; later it is left to a recheck of a later run."""
    backfill_batch_size: int = Field(default=1000, ge=1, le=10_000)
    """Users in one transaction of the backfill."""
    runs_kept_days: int = Field(default=90, ge=1, le=36_500)
    """How long records of runs are kept."""


class AgingSettings(_Settings):
    """The daily aging of scores."""

    aging_timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Whose midnight begins a day, for the aging and on the status page."""
    aging_ceiling: int = Field(default=200, ge=1)
    """Scores from here on no longer age."""
    aging_skipped_weekdays: Annotated[Words, AfterValidator(_weekdays)] = frozenset({"sunday"})
    """Days on which nothing ages, in English, separated by commas."""

    def is_skipped(self, day: date) -> bool:
        """Whether nothing ages on the weekday of this local day."""
        return WEEKDAYS[day.weekday()] in self.aging_skipped_weekdays


class StreamSettings(KafkaSettings):
    """Where the reconciler looks how far the reader is, and writes conversions where that is wanted."""

    kafka_bootstrap_servers: str = ""
    """Empty: the page does without."""


class ServeSettings(_Settings):
    """The HTTP API and the schedule."""

    http_host: str = "127.0.0.1"
    """Address of the API; containers set 0.0.0.0."""
    http_port: int = Field(default=8080, ge=0, lt=65536)
    """Port of the API; 0: any free one, which the log names."""
    precall_deadline_ms: int = Field(default=200, ge=1, le=60_000)
    """How long a pre-call check waits for the replica before it answers from what we hold."""
    api_token: Annotated[SecretStr | None, AfterValidator(_token)] = None
    """What `Authorization: Bearer …` must say to start runs by HTTP, 16 characters or more; without it nobody can."""
    api_tokens: Annotated[SecretStr | None, AfterValidator(_tokens)] = None
    """Persons' and programs' own tokens: lines of name, token and `read` or `run`; as a rule by API_TOKENS_FILE."""
    http_allowed_hosts: Words = frozenset()
    """Names that the `Host` of a request may have, besides addresses and localhost; empty: any, unless we listen on
    localhost alone."""
    http_protect_reads: bool = False
    """True: everything but /health and /metrics takes a token, as `Authorization: Bearer …` or as a browser's name and
    password."""
    grafana_url: Annotated[str, AfterValidator(_link)] = ""
    """Where the dashboards are: the pages link there."""
    runbook_url: Annotated[str, AfterValidator(_link)] = ""
    """Where the runbook can be read: the pages link there."""
    recheck_seconds: float = Field(default=30.0, gt=0)
    """How often rechecks that are due are processed."""
