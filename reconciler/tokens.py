"""Who may ask for what over HTTP: persons' and programs' own tokens, with names that the records of runs keep."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from pydantic import SecretStr

log = structlog.get_logger(__name__)

SHARED: Final = "API_TOKEN"
"""Whose name a run has that was started with the one token that everybody shares."""
LISTED: Final = "API_TOKENS"
NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,60}")
SHORTEST: Final = 16
"""Characters of a token that nobody guesses."""
HINT: Final = "`openssl rand -hex 32` makes one"
REMARK: Final = "#"
"""How what stands in the place of tokens begins and is none."""
RIGHTS: Final = ("read", "run")


class Caller(NamedTuple):
    """Whose token it is; without `may_run` only what others may read where reading takes a token."""

    name: str
    may_run: bool


class Tokens:
    """The tokens that are known. Empty: nobody can start runs."""

    def __init__(self, known: Iterable[tuple[Caller, str]], files: TokenFiles | None = None) -> None:
        """What stands in `files` later takes the place of `known`."""
        self._set(known)
        self._files = files

    def __bool__(self) -> bool:
        return bool(self._now())

    @property
    def may_run(self) -> bool:
        """Whether there is a token that starts runs."""
        return any(caller.may_run for caller, _ in self._now())

    def caller(self, given: str | None) -> Caller | None:
        """Whose token this is, found in a time that does not depend on how much of it is right; None: nobody's."""
        wanted = (given or "").encode()
        found = [caller for caller, token in self._now() if hmac.compare_digest(wanted, token)]
        return found[0] if found else None

    def _now(self) -> list[tuple[Caller, bytes]]:
        renewed = None if self._files is None else self._files.renewed()
        if renewed is not None:
            self._set(renewed)
        return self._known

    def _set(self, known: Iterable[tuple[Caller, str]]) -> None:
        self._known = [(caller, token.encode()) for caller, token in known]


class TokenFiles:
    """Files that tokens are read from, and read anew once they are others."""

    def __init__(self, shared: SecretStr | None, listed: SecretStr | None, files: Mapping[str, Path]) -> None:
        """What was read of them at first; `files` are API_TOKEN and API_TOKENS, where they came from one."""
        self._texts = {SHARED: _text(shared), LISTED: _text(listed)}
        self._files = files
        self._seen: Mapping[str, object] = {}
        """What each file was like when it was looked at."""

    def renewed(self) -> list[tuple[Caller, str]] | None:
        """The tokens as they are now; None where no file has changed.

        Of a file that is broken, which is logged once, those before it stay; whatever the other one is, its own count.
        """
        states = {name: _state(path) for name, path in self._files.items()}
        changed = [name for name, state in states.items() if name not in self._seen or state != self._seen[name]]
        if not changed:
            return None
        self._seen = states  # before it is read: what is written meanwhile is seen the next time
        before = dict(self._texts)
        for name in changed:
            try:
                self._texts[name] = _checked(name, _read(self._files[name]))
            except ValueError as error:
                log.warning(
                    "tokens_not_renewed",
                    files=[f"{name}_FILE"],
                    reason=str(error),
                    hint="the tokens before it stay in force; correct the file",
                )
        known = _known(self._texts[SHARED], self._texts[LISTED])
        if self._texts != before:
            log.info("tokens_renewed", count=len(known))
        return known


def _read(path: Path) -> str:
    """What a file holds. Raises ValueError, with none of it, where that is nothing or cannot be read."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ValueError("it is not in UTF-8") from None
    if not text:
        raise ValueError("it is empty")
    return text


def _checked(name: str, text: str) -> str:
    """The text of a file, as it is. Raises ValueError where it holds no tokens as it should."""
    _known(text, "") if name == SHARED else _known("", text)
    return text


def tokens(shared: SecretStr | None, listed: SecretStr | None, files: Mapping[str, Path] | None = None) -> Tokens:
    """The one shared token, which may run, and those of `parse`; `files` as `TokenFiles` takes them."""
    return Tokens(_known(_text(shared), _text(listed)), TokenFiles(shared, listed, files) if files else None)


def _known(shared: str, listed: str) -> list[tuple[Caller, str]]:
    if not shared or shared.startswith(REMARK):
        return parse(listed)
    demand_long(shared)
    return [(Caller(SHARED, may_run=True), shared), *parse(listed)]


def _text(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def _state(path: Path) -> tuple[int, int, int] | None:
    """What tells one version of a file from the next; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def demand_long(token: str) -> None:
    """Raises ValueError where the shared token could be guessed; never with it. A remark is none."""
    if len(token) < SHORTEST and not token.startswith(REMARK):
        raise ValueError(f"it should have {SHORTEST} characters or more; {HINT}")


def parse(text: str) -> list[tuple[Caller, str]]:
    """Lines of name, token and right (`read` or `run`); empty ones and those that begin with # are passed over.

    Raises ValueError with the line's number and what it should be; never with a token.
    """
    known: dict[str, tuple[Caller, str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts or parts[0].startswith(REMARK):
            continue
        if len(parts) != 3 or parts[2] not in RIGHTS:
            raise ValueError(f"line {number} should be a name, a token and {' or '.join(RIGHTS)}")
        name, token, right = parts
        if not NAME.fullmatch(name) or name == SHARED:
            raise ValueError(f"line {number}: the name should be of letters, digits and . _ @ -, 60 at most")
        if len(token) < SHORTEST:
            raise ValueError(f"line {number}: the token of {name} should have {SHORTEST} characters or more; {HINT}")
        if name in known:
            raise ValueError(f"line {number}: {name} stands there twice")
        known[name] = Caller(name, right == "run"), token
    return list(known.values())
