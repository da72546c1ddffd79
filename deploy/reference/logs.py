"""All log events, from the calls in the code, with what they mean and what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
ABOUT: Final = """# Log events

Made by `make reference` from the calls in the code and from `deploy/reference/logs.py`; not edited by hand. Processes
log to stderr, one line an event: JSON, or readable on a terminal (`LOG_FORMAT`, `LOG_LEVEL`). Beside its fields, each
line has `event`, `level` and `timestamp`. Of customers, lines hold ids at most. Alert on metrics ([alerts](alerts.md)),
and read the log for the reason.

`error`: something is lost, or stays wrong until somebody acts. `warning`: something is not as it should be, and the
process copes with it. `info`: the life of the process. `debug`: of use to whoever looks for a fault.
"""

NOTHING: Final = "Nothing."
GOES_ON: Final = "Nothing, unless it goes on: then see to the reason."
DOCTOR: Final = "`consumer doctor` says what is wrong with the server."

EVENTS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Every process": {
        "process_starting": ("The first line of a process.", NOTHING),
        "process_stopped": ("It ended, and left nothing open.", NOTHING),
        "command_failed": ("A command or process ends with an error.", "What the reason says, then start it again."),
        "thread_failed": (
            "An error that nobody foresaw ends the process, which its supervisor starts again.",
            "Keep the log, and report it.",
        ),
        "discovery_disabled": ("Changes are not applied and nothing is run, as a setting says.", "As the hint says."),
        "precondition_unmet": (
            "A server is not as it should be; it works, and may not tomorrow.",
            "Run the statement or command of the hint.",
        ),
        "precondition_unknown": ("A server that is away could not be examined at the start.", NOTHING),
        "topic_setting_lowered": (
            "Kafka keeps less of a topic than it should, or takes smaller messages.",
            "Run the command of the hint before changes are lost.",
        ),
        "server_away": ("A server does not answer; it is asked again until it does.", DOCTOR),
        "server_back": ("It answers again, and work goes on where it stood.", NOTHING),
        "kafka_password_awaited": (
            "Kafka refuses the password that it took before; a new one is waited for.",
            "Write the new password to its file.",
        ),
        "kafka_password_renewed": ("The new password is in use.", NOTHING),
        "kafka_password_not_renewed": ("Kafka's client does not take the new password.", "Start the process again."),
        "kafka_password_unreadable": ("The file of the password cannot be read.", "Correct the file."),
        "partition_ends_unknown": ("Kafka does not say where the partitions of a lane end.", GOES_ON),
        "sessions_cut": (
            "It was asked to stop, and PostgreSQL did not answer for so long that it waits no longer.",
            "See to PostgreSQL, if it hangs.",
        ),
        "presence_not_recorded": ("PostgreSQL did not take the note that this process runs.", GOES_ON),
        "dead_letters_expired": (
            "Dead letters that nobody had resolved were as old as `DEAD_LETTER_DAYS`, and are gone.",
            "Run `reconciler verify`, and resolve dead letters when their alert fires.",
        ),
        "conversion_id_taken": (
            "The call centre's table has other conversions with the ids of these, which were not paid therefore.",
            "Compare both in `reconciler verify`.",
        ),
        "lead_refused": (
            "PostgreSQL refuses the rows of a lead; it is queued to be read live and tried again.",
            "See to the constraint or trigger that the reason names.",
        ),
    },
    "Reader": {
        "reader_connected": (
            "It reads the binlog from this position on; after each time it was disconnected, too.",
            NOTHING,
        ),
        "reader_progressed": ("How far it is, and what it did since the last such line.", NOTHING),
        "connection_lost": ("MySQL or Kafka failed; it tries again after a pause.", DOCTOR),
        "binlogs_purged": (
            "MySQL deleted binlogs before they were read; it goes on at the present, and reads every lead live.",
            "Have MySQL keep binlogs for longer; see [purged binlogs](../how-to/runbook.md#purged-binlogs).",
        ),
        "skip_event_passed": ("`--skip-event` names an event that lies behind already.", "Leave the option away."),
        "row_unreadable": (
            "The binlog does not hold a row that we could read; whom it concerns is read live.",
            "`consumer doctor` shows which setting or column it is.",
        ),
        "rows_not_logged": (
            "A statement changed rows that the binlog does not hold; every lead is read live.",
            "Find out who ran it; keep such statements to hours when nobody is called.",
        ),
        "schema_changed": ("A captured table has another shape; reading goes on with it.", NOTHING),
        "foreign_keys_unknown": ("Our account may not see the foreign keys.", "Grant what the hint says."),
        "commit_time_corrected": (
            "The commit time in the binlog cannot be right, so another one was taken; of a burst, one is logged.",
            "Find out whose clock or session it was.",
        ),
        "transaction_timed_out": (
            "Kafka ended our transaction because it took too long; it is sent anew.",
            "Nothing, unless it recurs: then look why the process or its machine stood still.",
        ),
        "messages_dropped": (
            "What a producer that was fenced had not sent is dropped with it, and sent anew.",
            NOTHING,
        ),
        "commit_outcome_unknown": ("Kafka did not say whether it committed; the last checkpoint will.", NOTHING),
        "commit_failed": ("Kafka did not commit; the same changes are sent anew.", GOES_ON),
        "transaction_left_open": ("It could not be aborted when the reader ended; Kafka does that itself.", NOTHING),
    },
    "Applier": {
        "applier_started": ("It joins the group of appliers.", NOTHING),
        "lanes_assigned": (
            "The group gave it these lanes, which it reads from where PostgreSQL says they stand.",
            NOTHING,
        ),
        "lanes_revoked": ("The group shares its lanes out anew.", NOTHING),
        "lanes_lost": (
            "The group went on without it; what it had begun is not committed.",
            "Nothing, unless it recurs: then look why it did not answer Kafka in time.",
        ),
        "lane_taken": ("Another applier went on with a lane in between; it reads that again.", NOTHING),
        "lane_stalled": (
            "A lane that another one waits for stands still; that one goes on, and reads a lead live.",
            NOTHING,
        ),
        "offsets_not_committed": (
            "Kafka did not take the group's offsets; those that count are in PostgreSQL.",
            NOTHING,
        ),
        "batch_retried": ("PostgreSQL or Kafka failed, or another session was in the way; it is tried again.", GOES_ON),
        "row_held": ("An agent's session holds the row of a lead; that lead is shown when it is free.", NOTHING),
        "row_refused": (
            "PostgreSQL refused a batch; it looks for the leads that it is about.",
            "See `leads_set_aside`.",
        ),
        "leads_set_aside": (
            "PostgreSQL refuses the rows of these leads; the others went through.",
            "See to the constraint or trigger of the reasons; they are read live and tried again.",
        ),
        "dead_letter_added": (
            "A message cannot be applied; it was set aside, and its lane goes on.",
            "Resolve it with `consumer dead-letters`.",
        ),
        "numbers_lost": (
            "Changes of a lane can no longer arrive; the lane goes on behind them, and its leads are read live.",
            "Find out why Kafka lost them; see [LeadstreamChangesLost](../how-to/runbook.md#leadstreamchangeslost).",
        ),
        "kafka_set_back": (
            "Kafka lost its newest messages, and their numbers came again; the lane's leads are read live.",
            "Stop the reader, and run `consumer setup --repair`.",
        ),
        "number_given_twice": (
            "Two different messages of a lane have one number; the lane's leads are read live.",
            "Find out who else writes to the lanes' topics.",
        ),
        "sequence_unknown": ("It cannot see what numbers and versions the reader has given; the lane waits.", GOES_ON),
        "kafka_error_reported": ("Kafka's client reports an error, from which it recovers by itself.", GOES_ON),
    },
    "Reconciler": {
        "reconciler_started": ("It answers at this address, and runs these by the clock.", NOTHING),
        "run_started": ("A run begins that the clock has made due.", NOTHING),
        "run_waiting": ("A run of the same name is under way; it waits for that.", NOTHING),
        "run_skipped": ("Another process runs it.", NOTHING),
        "run_refused": ("A run that was asked for over HTTP could not be.", "What the reason says."),
        "run_failed": ("A run did not come to its end; the clock tries it again.", GOES_ON),
        "run_ended": (
            "A run came to its end; `error` where it failed, found drift or had leads refused.",
            "What its reason and outcome say.",
        ),
        "backfill_resumed": ("It goes on where the last one stopped.", NOTHING),
        "aging_refused": (
            "PostgreSQL refuses to age the scores of some customers, who are left out.",
            "See to the reasons; their scores stay a day younger.",
        ),
        "scores_aged": ("The scores of one local day were aged.", NOTHING),
        "attribution_skipped": ("Whose calls earned conversions is not ours to note, and why.", NOTHING),
        "attribution_refused": ("PostgreSQL refuses the note whose calls earned a conversion.", "See to the reason."),
        "check_not_recorded": ("PostgreSQL refuses the note that a customer was checked.", "See to the reason."),
        "lead_not_read": ("MySQL refuses the rows of one customer, who is tried again later.", "See to the reason."),
        "history_not_shown": (
            "PostgreSQL refuses to show the call centre what is known of a customer whose row somebody held.",
            "See to the reason.",
        ),
        "entries_refused": ("PostgreSQL refuses to repair the call centre's entries of a lead.", "See to the reason."),
        "drift_repaired": (
            "Leads differed from MySQL, which the stream had not brought; they are right now.",
            "Find out why: see [LeadstreamDriftRepaired](../how-to/runbook.md#leadstreamdriftrepaired).",
        ),
        "drift_not_confirmed": ("It cannot be said yet whether leads differ; they are read again later.", NOTHING),
        "entries_held": (
            "The call centre's entries of leads are wrong, and another session holds rows of theirs: they are left for"
            " another time.",
            "Nothing, unless it goes on: then end that session's transaction.",
        ),
        "entries_repaired": (
            "What agents see of leads was not what the queue says; it is right now.",
            "Find out who else writes those tables.",
        ),
        "conversions_wrong": (
            "Conversions are not where they should be, by kind; missing ones are added with `--repair`.",
            "Compare others with `leadstream.stints`, and put them right by hand.",
        ),
        "clock_put_back": (
            "MySQL's clock is behind what the stream has seen; until it has caught up, nothing is repaired.",
            "Correct the clock of MySQL's server.",
        ),
        "replication_stopped": (
            "The replica follows its source no longer; sweeps of new rows wait.",
            "Start replication there.",
        ),
        "created_at_not_utc": ("Sweeps by `created_at` miss rows, whose times are not UTC.", "As the hint says."),
        "tables_changed": ("MySQL's tables changed while they were asked; the question is put anew.", NOTHING),
        "lag_not_recorded": ("PostgreSQL did not take the lags for the page's history.", GOES_ON),
        "health_outdated": ("PostgreSQL does not answer; the health shown is that of before.", GOES_ON),
        "page_outdated": ("PostgreSQL does not answer; the page shown is that of before.", NOTHING),
        "week_not_read": ("The page's seven days could not be read.", GOES_ON),
        "list_not_shown": ("A list of customers could not be read.", GOES_ON),
        "customer_not_explained": ("What is held of a customer could not be read.", GOES_ON),
        "precall_incomplete": ("A pre-call check was answered without this server, and said so.", DOCTOR),
        "recheck_queued": ("Somebody asked for a customer to be read live.", NOTHING),
        "recheck_not_queued": ("A pre-call check found drift, and could not queue the recheck.", GOES_ON),
        "dead_letter_resolved": ("Somebody resolved a dead letter over HTTP.", NOTHING),
        "publisher_started": ("It is this process's turn to publish conversions.", NOTHING),
        "conversions_not_published": (
            "Conversions wait to be published and are tried again; nothing is lost.",
            "What the reason says; `error`: nobody foresaw it, so keep the log.",
        ),
        "tokens_renewed": ("The API's tokens were read anew.", NOTHING),
        "tokens_not_renewed": ("A file of tokens is wrong; those of before stay in force.", "Correct the file."),
        "library_reported": ("What a library that serves HTTP or keeps the clock logs.", GOES_ON),
    },
    "Commands": {
        "run_progressed": ("How far a run, an adoption of rules or an audit is.", NOTHING),
        "run_not_recorded": (
            "An audit could not be done, and PostgreSQL did not take the record of that either.",
            "What the error says that follows.",
        ),
        "rules_adopted": ("Rules are in force, and every lead is brought to them.", NOTHING),
    },
}
"""Each event's meaning and what to do about it, by who logs it."""

FIELDS: Final[dict[str, str]] = {
    "address": "where a server listens, `host:port`; of Kafka, all that are configured",
    "attempt": "how many times it was tried",
    "behind_seconds": "how far something is behind MySQL",
    "binlog_time": "the commit time that the binlog has",
    "by": "who asked: a token's name, or the account of a shell",
    "cache_hits": "claims whose user was remembered",
    "checked": "leads or conversions that a run looked at",
    "claims_asked": "claims whose user MySQL was asked for",
    "conversion_id": "a conversion",
    "conversion_ids": "conversions, the first of them",
    "conversions": "conversions that a run made",
    "count": "of how many the event tells",
    "day": "a local day",
    "days": "how many days something is kept",
    "defect": "why a message cannot be applied, as metrics count it",
    "done": "how far a run is: the highest id, or how many",
    "exception": "an error with its traceback, without variables",
    "files": "settings whose files are meant",
    "filled": "conversions that were given to somebody",
    "fingerprint": "of a file of rules",
    "group": "the group of appliers",
    "gtid_set": "the transactions before a position",
    "hint": "what to do, or what is done about it already",
    "kind": "of which kind something is: the class or name of an error, the kind of drift",
    "kinds": "how many of each kind",
    "lane": "a lane",
    "lanes": "lanes",
    "last_position": "the position up to which the binlog was read",
    "left": "leads that were left for later: drift not confirmed, or entries held by another session",
    "left_seconds": "how long it will take",
    "library": "whose message it is",
    "locked": "conversions whose row somebody holds",
    "number": "of a dead letter",
    "of": "what a run goes through",
    "off_seconds": "by how much times are off",
    "offset": "of a message in its partition",
    "outcome": "how a run ended, as in `leadstream.runs`",
    "owner": "this applier, as `leadstream.lanes` has it",
    "partition": "of a topic",
    "pause_seconds": "until it is tried again",
    "position": "in the binlog, `file:position`",
    "process": "reader, applier or reconciler",
    "queries": "statements that MySQL was asked",
    "reason": "why, in a sentence",
    "reasons": "why, where there are several",
    "refused": "leads or conversions whose rows PostgreSQL refused",
    "repaired": "leads that were repaired",
    "replica_lookups": "queries by which MySQL was asked for claims",
    "resolution": "retried or discarded",
    "rows_per_second": "changes a second",
    "rules_version": "of the rules",
    "run": "the name of a run",
    "runs": "names of runs",
    "seq": "a change's number in its lane; of several, the first",
    "server": "mysql, kafka or postgres",
    "slot": "when a run was due",
    "table": "a table of MySQL",
    "taken_time": "the commit time that was taken instead",
    "thread": "what ended",
    "took_seconds": "how long it took",
    "topic": "of Kafka",
    "total": "where `done` ends; 0 where nobody knows",
    "user_id": "a customer",
    "user_ids": "customers, the first of them",
    "users": "customers that a run has gone through",
    "users_per_second": "customers a second",
    "verb": "the first word of a statement",
    "version": "of leadstream",
    "wait_seconds": "how long it waits at most",
    "wrong": "what is wrong with a commit time: ahead, behind",
}
"""What each field says, in whichever event."""

_LEVELS: Final = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
_EVENT: Final = re.compile(r"[a-z]+(_[a-z]+)+")
_HERE: Final = "deploy/reference/logs.py"


class Call(NamedTuple):
    """A call that logs: `event` is empty where it is no literal, `levels` where only the call knows it."""

    where: str
    event: str
    levels: tuple[str, ...]
    fields: tuple[str, ...]


def log_calls(source: str, where: str) -> Iterator[Call]:
    """The calls of one module, `where` being its path."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_logger(node.func.value):
            method, arguments = node.func.attr, node.args
            if method == "log":
                level, *arguments = arguments
                names = (part.attr.lower() for part in ast.walk(level) if isinstance(part, ast.Attribute))
                levels = tuple(sorted(name for name in names if name in _LEVELS))
            elif method in _LEVELS:
                levels = (_LEVELS[method],)
            else:
                continue
            fields = tuple("exception" if key.arg == "exc_info" else key.arg or "" for key in node.keywords)
            event = arguments[0].value if isinstance(arguments[0], ast.Constant) else ""
            traceback = ("exception",) if method == "exception" else ()
            yield Call(f"{where}:{node.lineno}", str(event), levels, fields + traceback)


def _is_logger(value: ast.expr) -> bool:
    return ast.unparse(value) == "log" or (
        isinstance(value, ast.Call) and ast.unparse(value.func) == "structlog.get_logger"
    )


def every_call() -> list[Call]:
    """The calls of all our code."""
    paths = sorted(path for folder in ("consumer", "reconciler") for path in (ROOT / folder).rglob("*.py"))
    return [
        call
        for path in paths
        for call in log_calls(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]


def problems(calls: Iterable[Call]) -> list[str]:
    """What breaks the convention or is not described, each in a sentence that says what to do."""
    calls = list(calls)
    found = []
    described = [event for events in EVENTS.values() for event in events]
    for where, event, _, fields in calls:
        if not event:
            found.append(f"{where} logs an event that is no literal: write one call for each event")
        elif not _EVENT.fullmatch(event):
            found.append(f"{where} logs {event}: an event is what it is about and what happened to it, like lanes_lost")
        elif event not in described:
            found.append(f"{where} logs {event}: say in EVENTS of {_HERE} what it means and what to do")
        for name in fields:
            if not name:
                found.append(f"{where} logs fields of any name: give them one name, like kinds={{…}}")
            elif name not in FIELDS:
                found.append(f"{where} logs the field {name}: use one of FIELDS in {_HERE}, or say there what it is")
    logged = {call.event for call in calls}
    used = {name for call in calls for name in call.fields}
    found += [f"nothing logs {event}: take it out of EVENTS in {_HERE}" for event in described if event not in logged]
    return found + [f"nothing logs the field {name}: take it out of {_HERE}" for name in FIELDS if name not in used]


def page() -> str:
    """The page. Raises ValueError with all that is wrong with what is logged."""
    calls = every_call()
    if wrong := problems(calls):
        raise ValueError("\n".join(wrong))
    return "\n".join(_lines(calls)).rstrip() + "\n"


def _lines(calls: list[Call]) -> Iterator[str]:
    yield ABOUT
    for section, events in EVENTS.items():
        yield from (
            f"## {section}",
            "",
            "| event | level | fields | what it means | what to do |",
            "|---|---|---|---|---|",
        )
        for event, (meaning, to_do) in events.items():
            here = [call for call in calls if call.event == event]
            levels = " or ".join(dict.fromkeys(level for call in here for level in call.levels)) or "its own"
            fields = ", ".join(dict.fromkeys(f"`{name}`" for call in here for name in call.fields)) or "none"
            yield f"| `{event}` | {levels} | {fields} | {meaning} | {to_do} |"
        yield ""
    yield from ("## Fields", "", "| field | what it says |", "|---|---|")
    yield from (f"| `{name}` | {FIELDS[name]} |" for name in sorted(FIELDS))
