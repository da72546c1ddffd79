"""Who may ask for what over HTTP: persons' and programs' own tokens, with names that the records of runs keep."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from pydantic import SecretStr

SHARED: Final = "API_TOKEN"
"""Whose name a run has that was started with the one token that everybody shares."""
NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,60}")
SHORTEST: Final = 16
"""Characters of a token that nobody guesses."""
RIGHTS: Final = ("read", "run")


class Caller(NamedTuple):
    """Whose token it is; without `may_run` only what others may read where reading takes a token."""

    name: str
    may_run: bool


class Tokens:
    """The tokens that are known. Empty: nobody can start runs."""

    def __init__(self, known: Iterable[tuple[Caller, str]]) -> None:
        self._known = [(caller, token.encode()) for caller, token in known]

    def __bool__(self) -> bool:
        return bool(self._known)

    @property
    def may_run(self) -> bool:
        """Whether there is a token that starts runs."""
        return any(caller.may_run for caller, _ in self._known)

    def caller(self, given: str | None) -> Caller | None:
        """Whose token this is, told in a time that does not depend on how much of it is right; None: nobody's."""
        wanted = (given or "").encode()
        found = [caller for caller, token in self._known if hmac.compare_digest(wanted, token)]
        return found[0] if found else None


def tokens(shared: SecretStr | None, listed: SecretStr | None) -> Tokens:
    """The one shared token, which may run, and those of `parse`."""
    known: list[tuple[Caller, str]] = []
    if shared is not None and shared.get_secret_value():
        known.append((Caller(SHARED, may_run=True), shared.get_secret_value()))
    return Tokens([*known, *parse(listed.get_secret_value() if listed is not None else "")])


def parse(text: str) -> list[tuple[Caller, str]]:
    """Lines of name, token and right (`read` or `run`); empty ones and those that begin with # are passed over.

    Raises ValueError with the line's number and what it should be; never with a token.
    """
    known: dict[str, tuple[Caller, str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) != 3 or parts[2] not in RIGHTS:
            raise ValueError(f"line {number} should be a name, a token and {' or '.join(RIGHTS)}")
        name, token, right = parts
        if not NAME.fullmatch(name) or name == SHARED:
            raise ValueError(f"line {number}: the name should be of letters, digits and . _ @ -, 60 at most")
        if len(token) < SHORTEST:
            raise ValueError(f"line {number}: the token of {name} should have {SHORTEST} characters or more")
        if name in known:
            raise ValueError(f"line {number}: {name} stands there twice")
        known[name] = Caller(name, right == "run"), token
    return list(known.values())
