"""Threads that a process cannot do without."""

from __future__ import annotations

import threading

from structlog.testing import capture_logs

from consumer.stopping import EssentialThread


def ended(work: object, stop: threading.Event) -> list[str]:
    """Runs a thread to its end; the names of the threads that its log says have failed."""

    def run() -> None:
        if isinstance(work, Exception):
            raise work

    thread = EssentialThread("part", run, stop)
    with capture_logs() as lines:
        thread.start()
        thread.join()
    return [line["thread"] for line in lines if line["event"] == "thread_failed"]


def test_an_error_that_nobody_foresaw_asks_the_process_to_stop_and_is_told_once() -> None:
    stop = threading.Event()
    assert ended(ZeroDivisionError("nobody thought of this"), stop) == ["part"]
    assert stop.is_set()


def test_a_thread_that_comes_to_its_end_stops_nobody() -> None:
    stop = threading.Event()
    assert ended(None, stop) == []
    assert not stop.is_set()
