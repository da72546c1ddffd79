"""Every setting, one class per concern, read from the environment, `*_FILE` secrets and `.env`.

`NAME_FILE`, in the environment or in `.env`, names a file that holds the value of `NAME`: it wins over `NAME` in `.env`
and loses to `NAME` in the environment.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict


class SettingsError(Exception):
    """A setting that is missing or wrong; the message names it and says what it should be."""


_FILE: Final = "_FILE"
_KAFKA: Final = "KAFKA_"
DEAD_LETTER_DAYS: Final = 90
NO_TEXT: Final = ".env is no text in UTF-8; save it as UTF-8"
COMMAND_SECONDS: Final = 20
"""How long a command may take that prints a password."""


def _text_of(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{variable} names {path}, which cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{variable} names {path}, which is no text in UTF-8") from error


class FileSecretsSource(PydanticBaseSettingsSource):
    """Values from the files that `<NAME>_FILE` variables name, as Docker and Kubernetes mount secrets."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self._written = dotenv()

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The stripped text of the named file, or None. Raises SettingsError where the file cannot be read."""
        variable = field_name.upper()
        path = file_of(variable, self._written)
        return _text_of(f"{variable}{_FILE}", path) if path else None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values found in files."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # the reference of settings is made of them
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, FileSecretsSource(settings_cls), dotenv_settings


def _words(value: object) -> object:
    """`a, b` as the set {a, b}; settings that list statuses and types are written so."""
    return frozenset(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _check_port(url: SplitResult) -> None:
    try:
        _ = url.port
    except ValueError:
        raise ValueError("its port should be a number up to 65535; write it as host:3306") from None


def _mysql_url(value: SecretStr) -> SecretStr:
    url = urlsplit(value.get_secret_value())
    if url.scheme.partition("+")[0] not in ("mysql", "mariadb") or not url.hostname or len(url.path) < 2:
        raise ValueError("it should look like mysql://user:password@host:3306/database")
    _check_port(url)
    return value


_BARE_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")


def _postgres_url(value: SecretStr) -> SecretStr:
    if urlsplit(value.get_secret_value()).scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise ValueError("it should look like postgresql://user:password@host:5432/database")
    if _BARE_PERCENT.search(value.get_secret_value()):  # libpq's own error would show the password
        raise ValueError("a % in it, in its password say, should be written %25")
    return value


Words = Annotated[frozenset[str], NoDecode, BeforeValidator(_words)]
"""A comma-separated list in the environment, a set of strings in the program."""


class PasswordCommandFailed(Exception):
    """A command that printed no password; the message names its variable and how it ended, not what it printed."""


def _printed(variable: str, command: str) -> str:
    """The first line that the command of a variable prints. Raises PasswordCommandFailed."""
    try:
        done = subprocess.run(  # noqa: S603 - whoever sets the environment may run what they like
            shlex.split(command), capture_output=True, text=True, check=True, timeout=COMMAND_SECONDS
        )
    except subprocess.CalledProcessError as error:
        raise PasswordCommandFailed(f"{variable} ended with exit code {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise PasswordCommandFailed(f"{variable} did not end within {COMMAND_SECONDS} s") from None
    except (OSError, ValueError) as error:
        raise PasswordCommandFailed(f"{variable} cannot be run ({error})") from None
    lines = done.stdout.splitlines()
    if not lines or not lines[0].strip():
        raise PasswordCommandFailed(f"{variable} printed nothing")
    return lines[0].strip()


def dotenv() -> dict[str, str]:
    """What stands in `.env`. Raises SettingsError."""
    try:
        return {name: value or "" for name, value in dotenv_values(".env", encoding="utf-8").items()}
    except UnicodeDecodeError as error:
        raise SettingsError(NO_TEXT) from error


def file_of(variable: str, written: Mapping[str, str] | None = None) -> str | None:
    """The file that a setting is read from, as the environment or else `.env` names it; None where it is from none.

    None, too, where the environment has the value itself. `written` is what stands in `.env`, where that was read.
    """
    if os.environ.get(variable):
        return None
    name = f"{variable}{_FILE}"
    return os.environ.get(name) or (dotenv() if written is None else written).get(name) or None


class MySQLAddress:
    """Where the replica is and who we are there; taken apart from REPLICA_DATABASE_URL.

    Query parameters: `ssl_ca`, `ssl_cert`, `ssl_key` (paths) and `ssl_mode`
    (DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY), as MySQL's own clients name them.
    """

    def __init__(self, url: str, password_command: str = "", file: str | None = None) -> None:
        """`file` is where the URL was read from; `password_command` prints the password in its place."""
        self.password_command = password_command
        self._file = file
        parts = urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 3306
        self.user = unquote(parts.username or "")
        self.password = unquote(parts.password or "")
        self.database = unquote(parts.path.lstrip("/"))
        self.options = {key: values[-1] for key, values in parse_qs(parts.query).items()}

    def renewed_password(self) -> str:
        """The password for one more connection: passwords are renewed while processes run.

        That of the URL's file as it is now, where it came from one; and what the command prints, where there is one.
        Raises PasswordCommandFailed.
        """
        if self.password_command:
            return _printed("REPLICA_PASSWORD_COMMAND", self.password_command)
        if self._file is not None:
            try:
                self.password = unquote(urlsplit(_text_of("REPLICA_DATABASE_URL_FILE", self._file)).password or "")
            except (SettingsError, ValueError):
                return self.password  # the one before may still do
        return self.password

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class ReplicaSettings(_Settings):
    """The MySQL or MariaDB server whose binlog and tables are read."""

    replica_database_url: Annotated[SecretStr, AfterValidator(_mysql_url)]
    """`mysql://` or `mariadb://user:password@host:port/database`; `ssl_ca`, `ssl_cert`, `ssl_key` and `ssl_mode` as
    parameters. One server, the same for reader and reconciler: never a name that may lead to one replica or another.
    From a file, its password is read anew for each connection."""
    replica_password_command: str = ""
    """A command that prints the password, run for each connection: `aws rds generate-db-auth-token …` with
    `ssl_mode=VERIFY_IDENTITY`."""
    replica_server_id: int = Field(default=0, ge=0, lt=2**32)
    """Our id among the server's replicas; 0: one derived from TOPIC_PREFIX and host name."""
    replica_query_seconds: float = Field(default=30.0, gt=0)
    """Longest time one query on the replica may take (MAX_EXECUTION_TIME)."""

    @cached_property
    def address(self) -> MySQLAddress:
        """The parts of the URL."""
        url = self.replica_database_url.get_secret_value()
        return MySQLAddress(url, self.replica_password_command, file_of("REPLICA_DATABASE_URL"))


class PostgresAddress(str):
    """DATABASE_URL as libpq takes it, as it was at the start; a string to whoever only names it or hands it on."""

    __slots__ = ("_file", "_newest", "_password_command")
    _file: str | None
    _newest: str
    _password_command: str

    def __new__(cls, url: str, password_command: str = "", file: str | None = None) -> Self:
        """`file` is where the URL was read from; `password_command` prints the password in its place."""
        made = super().__new__(cls, _for_libpq(url))
        made._newest = str(made)
        made._file, made._password_command = file, password_command
        return made

    def renewed(self) -> str:
        """The same for one more connection: passwords are renewed while processes run.

        As the URL's file has it now, where it came from one, and with what the command prints for a password, where
        there is one. Raises PasswordCommandFailed.
        """
        if self._file is not None:
            try:
                found = _postgres_url(SecretStr(_text_of("DATABASE_URL_FILE", self._file)))
            except (SettingsError, ValueError):
                pass  # the one before may still do
            else:
                self._newest = _for_libpq(found.get_secret_value())
        url = self._newest
        if not self._password_command:
            return url
        password = quote(_printed("DATABASE_PASSWORD_COMMAND", self._password_command), safe="")
        return f"{url}{'&' if '?' in url else '?'}password={password}"


def _for_libpq(url: str) -> str:
    return url.replace("postgresql+psycopg", "postgresql", 1)


class DatabaseSettings(_Settings):
    """The PostgreSQL database of the call centre."""

    database_url: Annotated[SecretStr, AfterValidator(_postgres_url)]
    """`postgresql://…`; libpq's parameters (`sslmode`, `sslrootcert`, …) pass through. Where the call centre's tables
    are in another schema than the role's `search_path` names: `?options=-csearch_path%3Ddialler`, or
    `ALTER ROLE … SET search_path`. Of several hosts (`a:5432,b:5432`) the first is taken that takes writes
    (`target_session_attrs=read-write`); for a single name that leads to several servers, say so yourself. From a file,
    it is read anew for each connection."""
    database_password_command: str = ""
    """A command that prints the password, run for each connection: for short-lived ones, as RDS gives by IAM."""

    @cached_property
    def conninfo(self) -> PostgresAddress:
        """What libpq takes."""
        url = self.database_url.get_secret_value()
        return PostgresAddress(url, self.database_password_command, file_of("DATABASE_URL"))


class DeploymentSettings(_Settings):
    """Which deployment this is, where there are several."""

    topic_prefix: str = Field(default="leadstream", pattern=r"^[A-Za-z0-9._-]{1,80}$")
    """What names of topics begin with, and the label `deployment` of every metric."""


class KafkaSettings(DeploymentSettings):
    """Kafka: every variable `KAFKA_X_Y` becomes librdkafka's property `x.y`."""

    kafka_bootstrap_servers: str
    """Brokers, as `kafka-1:9092,kafka-2:9092`."""
    lanes: int = Field(default=12, ge=1, le=1000)
    """Partitions of each lane topic: the most appliers that can share the work."""
    topic_replication_factor: int = Field(default=-1, ge=-1)
    """Replication factor of topics that `setup` creates; -1: the broker's default."""
    topic_retention_hours: int = Field(default=168, ge=1)
    """How long changes stay in the lanes' topics: the longest outage of the appliers that the stream alone heals."""
    publish_conversions: bool = False
    """True: each conversion is written to the topic `{prefix}.conversions`, by `reconciler serve`."""

    @property
    def librdkafka(self) -> dict[str, str]:
        """The properties that `.env`, files named by `KAFKA_<NAME>_FILE` (for passwords) and the environment name.

        The later of them wins. Raises SettingsError where a file cannot be read.
        """
        written = dotenv()
        named = {
            variable.removesuffix(_FILE): _text_of(variable, path)
            for variable in {**written, **os.environ}
            if variable.startswith(_KAFKA) and variable.endswith(_FILE)
            if (path := file_of(variable.removesuffix(_FILE), written))
        }
        properties = {
            variable.removeprefix(_KAFKA).lower().replace("_", "."): value
            for variable, value in {**written, **named, **os.environ}.items()
            if variable.startswith(_KAFKA) and not variable.endswith(_FILE)
        }
        return {**properties, "bootstrap.servers": self.kafka_bootstrap_servers}

    @property
    def renews_password(self) -> bool:
        """Whether the password comes from a file, so that another one may stand there later."""
        return file_of("KAFKA_SASL_PASSWORD") is not None

    def topic(self, name: str) -> str:
        """The full name of one of our topics."""
        return f"{self.topic_prefix}.{name}"


class ReaderSettings(_Settings):
    """How the reader batches, beats and reconnects."""

    reader_batch_rows: int = Field(default=50_000, ge=1)
    """Rows in one Kafka transaction at the most; a larger source transaction is checkpointed inside."""
    reader_heartbeat_seconds: float = Field(default=2.0, gt=0)
    """How often every lane gets a heartbeat, and the server is asked to send us one."""
    reader_deadline_seconds: float = Field(default=30.0, gt=0)
    """A connection on which nothing arrives for so long is taken for dead."""
    claim_cache_size: int = Field(default=1_000_000, ge=1000)
    """Claims whose user the reader remembers: a million take up to 142 MB, with UUIDs for keys 174."""
    skip_unchanged_updates: bool = False
    """True sends no message for an update that changes no captured column but `updated_at`, as most of a company's
    writes do (Debezium's `skip.messages.without.change`). Whoever else reads the topics misses them then."""
    on_purged: Literal["fail", "reconcile"] = "fail"
    """Where the binlog we need is purged: stop with an error, or go on at the present and recheck every lead."""


class DeadLetterSettings(_Settings):
    """How long dead letters are kept: by appliers and by the reconciler, who both drop old ones."""

    dead_letter_days: int = Field(default=DEAD_LETTER_DAYS, ge=1)
    """How long messages that could not be applied are kept, resolved or not; they hold rows of customers. `reconciler
    serve` drops older ones every hour while SMART_DISCOVERY_ENABLED is true, and appliers when new ones come."""


class ApplierSettings(DeadLetterSettings):
    """How an applier batches."""

    applier_batch_rows: int = Field(default=10_000, ge=1)
    """Changes in one PostgreSQL transaction at the most."""
    applier_lane_buffer: int = Field(default=2_500, ge=10)
    """Messages held per partition before it is paused."""
    consumer_group: str = ""
    """Kafka's consumer group; empty: `{prefix}.appliers`."""

    def group(self, topic_prefix: str) -> str:
        """The name of the group of appliers."""
        return self.consumer_group or f"{topic_prefix}.appliers"


class DiscoverySettings(_Settings):
    """What of the safety net runs, and how far it looks."""

    smart_discovery_enabled: bool = True
    """False: appliers idle, and no sweep, recheck, verify, backfill or aging runs; the reader goes on, and HTTP
    answers."""
    shadow_mode: bool = False
    """True writes only our own schema, so that the stream can run beside the old system."""
    recent_activity_hours: int = Field(default=48, ge=1)
    """Conversion sweeps look at customers who were called so recently."""
    discovery_batch_size: int = Field(default=100, ge=1, le=10_000)
    """Customers whom a sweep reads at once."""
    recheck_wait_seconds: float = Field(default=30.0, gt=0)
    """How long drift waits for a stream that does not move before it counts as confirmed."""


class RunSettings(_Settings):
    """Logs and metrics of any process."""

    metrics_port: int = Field(default=0, ge=0, lt=65536)
    """Port of the Prometheus endpoint; 0: off."""
    metrics_host: str = "127.0.0.1"
    """Address of the Prometheus endpoint; containers set 0.0.0.0."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: coloured lines on a terminal, JSON elsewhere."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Nothing below it is logged."""


_WORD_LISTS: Final = {
    "CLOSED_CLAIM_STATUSES": ("claims", "closed"),
    "SETTLED_REQUIREMENT_STATUSES": ("requirements", "settled"),
    "EXCLUDED_REQUIREMENT_TYPES": ("requirements", "excluded"),
}
"""Settings that the file of rules took the place of, and the section and key that says the same there."""


def refuse_word_lists() -> None:
    """Raises SettingsError where lists of words are still set: those who judge read the rules from PostgreSQL."""
    written = dotenv()
    found: dict[str, str] = {}
    for name in _WORD_LISTS:
        path = file_of(name, written)
        value = os.environ.get(name) or (_text_of(f"{name}{_FILE}", path) if path else written.get(name))
        if value:
            found[name] = value
    if found:
        names = " and ".join(found)
        raise SettingsError(
            f"{names} {'are settings' if len(found) > 1 else 'is a setting'} no longer, because the rules lie in"
            f" PostgreSQL; unset {'them' if len(found) > 1 else 'it'}, write these lines to a file and run"
            f" `consumer rules adopt FILE`:\n{_as_rules(found)}"
        )


def _as_rules(lists: dict[str, str]) -> str:
    """Lists of words as lines of a file of rules."""
    lines: list[str] = []
    section = ""
    for name, value in lists.items():
        if (wanted := _WORD_LISTS[name][0]) != section:
            section = wanted
            lines.append(f"[{section}]")
        words = list(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))
        if name == "EXCLUDED_REQUIREMENT_TYPES":
            for word in words:
                lines += [f"[[{section}.excluded]]", f"type = {json.dumps(word, ensure_ascii=False)}"]
        else:
            lines.append(f"{_WORD_LISTS[name][1]} = {json.dumps(words, ensure_ascii=False)}")
    return "\n".join(lines)


T = TypeVar("T", bound=_Settings)


def load(kind: type[T]) -> T:
    """Settings of one concern from the environment.

    Raises SettingsError with one sentence per variable that is missing or wrong; values are never shown.
    """
    try:
        return kind()
    except UnicodeDecodeError as error:  # by pydantic, which reads `.env` too
        raise SettingsError(NO_TEXT) from error
    except ValidationError as error:
        raise SettingsError("; ".join(_problems(error))) from error


def demand(*kinds: type[_Settings]) -> None:
    """Raises SettingsError for all that is wrong in these settings and in those of logs and metrics, at once."""
    problems: list[str] = []
    every: dict[type[_Settings], None] = dict.fromkeys((*kinds, RunSettings))
    for kind in every:
        try:
            load(kind)
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("; ".join(dict.fromkeys(problems)))


def run_settings() -> RunSettings:
    """Logs and metrics as far as their settings are right: how to say which of them are wrong."""
    try:
        return load(RunSettings)
    except SettingsError:
        return RunSettings.model_construct()


_SHOULD: Final = {
    "greater_than_equal": "it should be {ge:g} or more",
    "greater_than": "it should be more than {gt:g}",
    "less_than_equal": "it should be {le:g} at most",
    "less_than": "it should be less than {lt:g}",
    "int_parsing": "it should be a whole number",
    "float_parsing": "it should be a number",
    "finite_number": "it should be a number",
    "bool_parsing": "it should be true or false",
    "literal_error": "it should be {expected}",
    "string_pattern_mismatch": "it should match {pattern}",
}
"""What pydantic finds wrong, in our words; errors of our own validators say it themselves."""


def _problems(error: ValidationError) -> list[str]:
    sentences = []
    for problem in error.errors(include_input=False, include_url=False):
        name = str(problem["loc"][0]).upper()
        if problem["type"] == "missing":
            sentences.append(f"{name} is not set; set it in the environment, in .env or by {name}_FILE")
            continue
        should = _SHOULD.get(problem["type"])
        said = should.format(**problem.get("ctx", {})) if should else problem["msg"].removeprefix("Value error, ")
        sentences.append(f"{name} is wrong: {said}")
    return sentences
