"""`python -m tests.bench reader|applier|latency|sweeps`: see `--help`."""

from __future__ import annotations

import argparse

from tests.bench import applier, latency, reader, sweeps
from tests.servers import ensure


def main() -> None:
    """Starts the servers that are needed and runs the benchmarks asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="+", choices=["reader", "applier", "latency", "sweeps"])
    parser.add_argument("--rows", type=int, default=1_000_000, help="changes in the history; 0: the outage alone")
    parser.add_argument("--outage", type=int, default=10_000_000, help="changes to catch up with; 0: not measured")
    parser.add_argument("--users", type=int, default=1_000_000, help="users of the safety net's company")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, of which the median is printed")
    parser.add_argument("--fill-only", action="store_true", help="sweeps: only make the company; the next run uses it")
    parser.add_argument("--peer-runs", type=int, help="runs of each peer of the reader; as many as ours unless given")
    parser.add_argument("--integer-keys", action="store_true", help="also with numbers for requirements, not UUIDs")
    parser.add_argument("--alone", action="store_true", help="without Debezium, mysqlbinlog and mysql-replication")
    options = parser.parse_args()
    servers = ensure(("mysql", "kafka", "postgres"))
    for name in options.names:
        if name == "reader":
            peer_runs = options.runs if options.peer_runs is None else options.peer_runs
            peers = 0 if options.alone else peer_runs
            reader.bench(servers, options.rows, options.runs, peers, integer_keys=options.integer_keys)
        elif name == "applier":
            applier.bench(
                servers,
                options.rows,
                options.outage,
                options.runs,
                not options.alone,
                integer_keys=options.integer_keys,
            )
        elif name == "sweeps" and options.fill_only:
            sweeps.fill(servers, options.users)
        elif name == "sweeps":
            sweeps.bench(servers, options.users)
        else:
            latency.bench(servers)


if __name__ == "__main__":
    main()
