"""The company's and the call centre's tables, as the deployment's files have them, in tests' databases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from consumer.leads.model import Key
from tests.servers.places import PROJECT

COMPANY: Final = PROJECT / "deploy" / "mysql" / "05-company.sql"
CALL_CENTRE: Final = PROJECT / "deploy" / "postgres" / "05-callcentre.sql"

_FOREIGN_KEY: Final = re.compile(r",\s*CONSTRAINT \w+ FOREIGN KEY [^\n]*")
_APPLICATION: Final = {
    "email_address VARCHAR(255) NOT NULL": "DEFAULT 'x@example.org'",
    "created_at TIMESTAMP NULL": "DEFAULT CURRENT_TIMESTAMP",
    "updated_at TIMESTAMP NULL": "DEFAULT CURRENT_TIMESTAMP",
}
"""What the company's application sets in every row, and tests leave out: defaults that the real tables do not have."""


def key(number: int) -> Key:
    """The UUID that stands for a requirement's small number in tests; in no order of the numbers."""
    return str(uuid5(NAMESPACE_OID, str(number)))


def keys(*numbers: int) -> set[Key]:
    """The UUIDs of some requirements."""
    return {key(number) for number in numbers}


def script(path: Path, **changed: str) -> list[str]:
    """The statements of one of the deployment's SQL files, with some words changed."""
    text = re.sub(r"--[^\n]*", "", path.read_text())
    for old, new in changed.items():
        text = text.replace(old, new)
    return [statement for statement in text.split(";\n") if statement.strip()]


def company_tables(*, foreign_keys: bool) -> list[str]:
    """The statements that create users, claims and claim_requirements, in this order, in the database at hand."""
    tables = [statement for statement in script(COMPANY) if "CREATE TABLE" in statement]
    if not foreign_keys:
        tables = [_FOREIGN_KEY.sub("", table) for table in tables]
    for column, default in _APPLICATION.items():
        tables = [re.sub(rf"(?<![a-z_]){re.escape(column)}", rf"\g<0> {default}", table) for table in tables]
    return tables


def call_centre_tables() -> str:
    """The script that creates the call centre's tables, with agents 7 and 17."""
    agents = "INSERT INTO agents (id, email, first_name, last_name, updated_at) VALUES"
    return (
        f"{CALL_CENTRE.read_text()}; {agents} (7, 'seven@example.org', 'Ada', 'Seven', now()),"
        " (17, 'seventeen@example.org', 'Bob', 'Seventeen', now())"
    )
