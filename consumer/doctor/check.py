"""What the doctor says about one precondition."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from consumer.settings import PasswordCommandFailed


class State(StrEnum):
    """How a precondition stands: `warning` is what works today and may not tomorrow."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Check(NamedTuple):
    """One precondition of one server: a sentence on what is, and the statement or command that fixes it ("" if ok)."""

    server: str
    name: str
    state: State
    sentence: str
    hint: str = ""


def judged(server: str, name: str, wrong: State | bool, sentence: str, hint: str) -> Check:
    """A check that failed where `wrong` is True; without its hint where nothing is wrong."""
    state = wrong if isinstance(wrong, State) else State.FAILED if wrong else State.OK
    return Check(server, name, state, sentence, "" if state is State.OK else hint)


def offset(seconds: float) -> str:
    """How far a clock is ahead, in words; what is too little to show has no sign of its own."""
    return f"{round(seconds, 1) + 0.0:+.1f} s"


def away(server: str, setting: str, error: Unreachable) -> Check:
    """The check of a server that cannot be asked; `setting` says where it is."""
    if isinstance(error.__cause__ and error.__cause__.__cause__, PasswordCommandFailed):
        hint = "run that command by hand, as the account that this process runs as"
    elif error.refused:
        hint = f"correct {setting}, or our account there"
    else:
        hint = f"start the server, or correct {setting}"
    return Check(server, "reachable", State.FAILED, str(error), hint)


class Unreachable(Exception):
    """A server that cannot be asked: it is away, or `refused` to let us in; the message says why."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class Unfit(Exception):
    """Preconditions of this process that do not hold; the message says of each how to fix it."""

    def __init__(self, failed: list[Check]) -> None:
        super().__init__("; ".join(f"{check.server}: {check.sentence}; {check.hint}" for check in failed))
