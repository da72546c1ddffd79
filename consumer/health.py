"""Whether the process in this container does its work: `python -m consumer.health [URL]`, for container health checks.

Without a URL it looks at the metrics of `consumer read` or `consumer apply` at METRICS_PORT: a process that committed
nothing for HEALTH_SECONDS (60) is not well, for heartbeats alone make a batch every few seconds; an applier that is
switched off (SMART_DISCOVERY_ENABLED) commits nothing, and is. With a URL, anything but an answer of 200 is not well.
Standard library only, because it is started every few seconds.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from collections.abc import Mapping
from typing import Final

PROGRESS: Final = "leadstream_progress_timestamp_seconds"
LANES_METRIC: Final = "leadstream_lanes"
OFF: Final = frozenset({"0", "off", "f", "false", "n", "no"})
"""What settings take for false."""
ANSWER_SECONDS: Final = 4.0


def complaint(metrics: str, now: float, patience: float) -> str | None:
    """What is wrong with a process of the stream, from its metrics (Prometheus's text format); None: it is well.

    `now` and `patience` are in seconds. An applier that holds no lane has nothing to do, and is well.
    """
    samples = {line.split(" ")[0].split("{")[0]: line for line in metrics.splitlines() if line.startswith("leadstream")}
    if LANES_METRIC in samples and _value(samples[LANES_METRIC]) == 0:
        return None
    if PROGRESS not in samples:
        return "it has not begun its work"
    silent = now - _value(samples[PROGRESS])
    return f"its last batch was {silent:.0f} s ago" if silent > patience else None


def check(arguments: list[str], environment: Mapping[str, str]) -> str | None:
    """Asks, and returns what is wrong or None."""
    given = environment.get("HEALTH_SECONDS", "60")
    try:
        patience = float(given)
    except ValueError:
        return f"HEALTH_SECONDS is {given!r}; set it to a number of seconds"
    is_off = environment.get("SMART_DISCOVERY_ENABLED", "").strip().lower() in OFF
    url = arguments[0] if arguments else f"http://127.0.0.1:{environment.get('METRICS_PORT', '0')}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 (an address of this container)
            text = answer.read().decode()
    except (OSError, ValueError) as error:
        return f"{url}: {error}"
    if arguments or (is_off and _is_applier(text)):
        return None
    return complaint(text, time.time(), patience)


def _is_applier(metrics: str) -> bool:
    return any(line.startswith(PROGRESS) and 'process="applier"' in line for line in metrics.splitlines())


def main() -> None:
    """Prints what is wrong; exit code 1 where something is."""
    wrong = check(sys.argv[1:], os.environ)
    print(wrong or "well")
    sys.exit(1 if wrong else 0)


def _value(line: str) -> float:
    return float(line.rsplit(" ", 1)[1])


if __name__ == "__main__":
    main()
