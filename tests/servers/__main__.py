"""`python -m tests.servers start | env | status | stop [mysql mariadb kafka postgres]`."""

import argparse
import sys
from collections.abc import Sequence

from tests.servers import choice, state
from tests.servers.api import ensure, running
from tests.servers.places import ServerError, locked, say
from tests.servers.providers.provider import KINDS

_VARIABLES = {
    "mysql": "REPLICA_DATABASE_URL",
    "postgres": "DATABASE_URL",
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "mariadb": "MARIADB_REPLICA_DATABASE_URL",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("command", choices=("start", "env", "status", "stop"))
    parser.add_argument("names", nargs="*", metavar="server", help=f"of {', '.join(KINDS)}; all if none is named")
    arguments = parser.parse_args(argv)
    names = arguments.names or list(KINDS)
    for name in names:
        if name not in KINDS:
            parser.error(f"there is no server {name}; there are {', '.join(KINDS)}")
    try:
        return _COMMANDS[arguments.command](names)
    except ServerError as error:
        say(f"tests.servers: {error}")
        return 1
    except KeyboardInterrupt:
        say("tests.servers: interrupted; what is half done is done again by the next start")
        return 130


def _start(names: Sequence[str]) -> int:
    ensure(names)
    return 0


def _env(names: Sequence[str]) -> int:
    """Prints nothing on stdout but exports, for `eval`."""
    urls = running()
    for name in names:
        if name in urls:
            print(f"export {_VARIABLES[name]}='{urls[name]}'")
        else:
            say(f"{name} does not run; start it: python -m tests.servers start {name}")
    return 0 if all(name in urls for name in names) else 1


def _status(names: Sequence[str]) -> int:
    records = {record.name: record for record in state.every()}
    for name in sorted({*names, *records}, key=lambda name: (name not in KINDS, name)):
        record = records.get(name)
        if record is None:
            print(f"{name}: not started")
        elif record.kind in names:
            runs = choice.of(record).is_running(record)
            process = record.process.pid if record.process else (record.container or "")[:12]
            private = f", private to process {record.owner.pid}" if record.owner else ""
            print(f"{name}: {f'running ({process})' if runs else 'stopped'}, {record.provider}, {record.url}{private}")
    return 0


def _stop(names: Sequence[str]) -> int:
    with locked("reap"):
        choice.reap()
    for name in names:
        record = state.load(name)
        if record is not None and choice.of(record).is_running(record):
            choice.of(record).end(record)
            say(f"{name}: stopped")
    return 0


_COMMANDS = {"start": _start, "env": _env, "status": _status, "stop": _stop}

if __name__ == "__main__":
    sys.exit(main())
