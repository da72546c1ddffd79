"""What is tested with which version."""

from __future__ import annotations

from typing import Final, NamedTuple

_READER: Final = "tests/integration/reader"


class Combination(NamedTuple):
    """One run: a version of a server, or of Python, and the tests that touch it."""

    kind: str
    """`mariadb`, `postgres`, `kafka` or `python`."""
    version: str
    tests: tuple[str, ...]
    """Files and folders."""
    core: tuple[str, ...]
    """Those of `tests` that look most closely and take least: what `--core` runs."""
    beside: tuple[str, ...]
    """Servers that these tests need too, as this machine has them."""

    @property
    def key(self) -> str:
        """As it is asked for."""
        return f"{self.kind}-{self.version}"

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{NAMES[self.kind]} {self.version}"


NAMES: Final = {"mariadb": "MariaDB", "postgres": "PostgreSQL", "kafka": "Kafka", "python": "Python"}

_MARIADB: Final = (
    "tests/integration/binlog",
    "tests/integration/mysql",
    _READER,
    "tests/integration/doctor/test_mysql.py",
    "tests/integration/doctor/test_mysql_types.py",
    "tests/integration/reconciler/test_queries.py",
    "tests/integration/reconciler/test_replica.py",
    "tests/integration/security/test_mariadb.py",
    "tests/integration/test_cascades.py",
    "tests/integration/test_children.py",
    "tests/integration/test_shapes.py",
)
_POSTGRES: Final = (
    "tests/integration/applier",
    "tests/integration/store",
    "tests/integration/doctor/test_postgres.py",
    "tests/integration/reconciler/web/test_api.py",
    "tests/integration/reconciler/test_queries.py",
    "tests/integration/reconciler/runs/test_sweeps.py",
    "tests/integration/reconciler/runs/test_verify.py",
)
_KAFKA: Final = (
    "tests/integration/applier",
    f"{_READER}/test_reader.py",
    f"{_READER}/audit/test_audit.py",
    f"{_READER}/test_lost_checkpoint.py",
    f"{_READER}/test_passed_over.py",
    f"{_READER}/test_taking_over.py",
    f"{_READER}/test_topics_changed.py",
    f"{_READER}/test_uncertain_commits.py",
    "tests/integration/doctor/test_stream.py",
    "tests/integration/reconciler/test_publisher.py",
)
_PYTHON: Final = (
    "tests/unit",
    "tests/integration/applier/test_exactly_once.py",
    "tests/integration/binlog/test_transactions.py",
    "tests/integration/binlog/test_types.py",
    f"{_READER}/test_reader.py",
    "tests/integration/reconciler/web/test_serve.py",
    "tests/integration/store/test_leads.py",
    "tests/integration/store/test_renewed_passwords.py",
)

_MARIADB_CORE: Final = (
    "tests/integration/binlog/test_cascades.py",
    "tests/integration/binlog/test_differential.py",
    "tests/integration/binlog/test_every_type.py",
    "tests/integration/binlog/test_schema.py",
    "tests/integration/binlog/test_transactions.py",
    "tests/integration/binlog/test_types.py",
    "tests/integration/doctor/test_mysql.py",
    f"{_READER}/test_dates.py",
    f"{_READER}/test_foreign_keys.py",
    "tests/integration/reconciler/test_replica.py",
    "tests/integration/test_shapes.py",
)
_POSTGRES_CORE: Final = (
    "tests/integration/applier/test_exactly_once.py",
    "tests/integration/doctor/test_postgres.py",
    "tests/integration/store",
)
_KAFKA_CORE: Final = (
    "tests/integration/applier/test_exactly_once.py",
    "tests/integration/doctor/test_stream.py",
    f"{_READER}/test_passed_over.py",
    f"{_READER}/test_uncertain_commits.py",
    "tests/integration/reconciler/test_publisher.py",
)
_PYTHON_CORE: Final = (
    "tests/unit",
    "tests/integration/applier/test_exactly_once.py",
    "tests/integration/binlog/test_transactions.py",
    "tests/integration/store/test_leads.py",
)

_MARIADBS: Final = ("10.11", "11.4", "11.8")
_POSTGRESES: Final = ("15", "18")
_KAFKAS: Final = ("3.9", "4.1")
_PYTHONS: Final = ("3.11", "3.13", "3.14")
COMBINATIONS: Final = (
    *(Combination("mariadb", name, _MARIADB, _MARIADB_CORE, ("kafka", "postgres")) for name in _MARIADBS),
    *(Combination("postgres", name, _POSTGRES, _POSTGRES_CORE, ("kafka", "mariadb")) for name in _POSTGRESES),
    *(Combination("kafka", name, _KAFKA, _KAFKA_CORE, ("mariadb", "postgres")) for name in _KAFKAS),
    *(
        Combination("python", name, _PYTHON, _PYTHON_CORE, ("mysql", "mariadb", "kafka", "postgres"))
        for name in _PYTHONS
    ),
)
