"""What `consumer doctor` prints."""

from __future__ import annotations

import io

from rich.console import Console

from consumer.doctor.check import Check, State
from consumer.doctor.report import show

CHECKS = [
    Check("mysql", "reachable", State.OK, "it answers"),
    Check("mysql", "retention", State.WARNING, "binlogs are kept for a day", "SET PERSIST …"),
    Check("kafka", "topics", State.FAILED, "there is no topic ls.users", "consumer setup"),
]  # fmt: skip


def printed(*, problems: bool) -> str:
    paper = io.StringIO()
    show(CHECKS, Console(file=paper, width=160), problems=problems)
    return paper.getvalue()


def test_a_sentence_is_printed_as_it_is_whatever_brackets_it_holds() -> None:
    sentences = ("Kafka at [fd00::5]:9092 answers", "[/run/mysqld.sock] cannot be asked")
    paper = io.StringIO()
    show([Check("kafka", "reachable", State.OK, said) for said in sentences], Console(file=paper, width=160))
    assert all(said in paper.getvalue() for said in sentences)


def test_what_failed_stands_first_and_every_state_is_counted() -> None:
    text = printed(problems=False)
    places = [text.index(check.sentence) for check in (CHECKS[2], CHECKS[1], CHECKS[0])]
    assert places == sorted(places)
    assert text.splitlines()[-1] == "1 ok, 1 warning, 1 failed"


def test_problems_leave_out_what_is_well_and_no_count() -> None:
    text = printed(problems=True)
    assert "it answers" not in text
    assert "consumer setup" in text
    assert text.splitlines()[-1] == "1 ok, 1 warning, 1 failed"
