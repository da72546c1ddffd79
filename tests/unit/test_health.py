"""The health check tells a process that works from one that does not, by its metrics alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import REGISTRY, generate_latest

from consumer import measures, metrics
from consumer.health import check, complaint
from consumer.settings import DiscoverySettings

PROGRESS = 'leadstream_progress_timestamp_seconds{process="applier"} 1.7e+09'


class Down(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def down() -> Iterator[str]:
    with serving(Down) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(("process", "is_well"), [("applier", True), ("reader", False)])
def test_an_applier_that_is_switched_off_is_well_and_a_reader_goes_on(process: str, is_well: bool) -> None:
    """One that is never ready would hold up the very roll-out that switches the others off."""

    class Idle(Down):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(
                f'leadstream_progress_timestamp_seconds{{deployment="a",process="{process}"}} 0.0'.encode()
            )

    with serving(Idle) as port:
        for word in ("false", " FALSE ", "0", "off"):
            off = {"METRICS_PORT": str(port), "SMART_DISCOVERY_ENABLED": word}
            assert not DiscoverySettings.model_validate(
                {"smart_discovery_enabled": word.strip()}
            ).smart_discovery_enabled
            assert (check([], off) is None) == is_well
        for on in ({}, {"SMART_DISCOVERY_ENABLED": "true"}, {"SMART_DISCOVERY_ENABLED": ""}):
            assert check([], {"METRICS_PORT": str(port), **on}) is not None


def test_a_process_that_committed_lately_is_well() -> None:
    assert complaint(PROGRESS, 1.7e9 + 59, 60) is None


def test_a_process_that_committed_nothing_for_too_long_is_not_well() -> None:
    assert complaint(PROGRESS, 1.7e9 + 61, 60) == "its last batch was 61 s ago"


def test_a_process_that_has_not_begun_is_not_well() -> None:
    assert complaint("python_info 1.0", 1.7e9, 60) == "it has not begun its work"


def test_an_applier_without_lanes_has_nothing_to_do_and_is_well() -> None:
    assert complaint(f"leadstream_lanes 0.0\n{PROGRESS}", 1.7e9 + 600, 60) is None
    assert complaint(f"leadstream_lanes 1.0\n{PROGRESS}", 1.7e9 + 600, 60) is not None


def test_the_metrics_that_are_looked_for_are_those_that_are_served() -> None:
    measures.begin(measures.READER)
    metrics.Lag(measures.READER).processed(1)
    assert complaint(generate_latest(REGISTRY).decode(), 0.0, 60) is None
    with metrics.lanes_applied(dict, 1):
        assert "leadstream_lanes 0.0" in generate_latest(REGISTRY).decode().splitlines()


def test_a_page_that_says_503_or_does_not_answer_is_not_well(down: str) -> None:
    assert "503" in str(check([down], {}))
    assert check([], {"METRICS_PORT": "0"}) is not None


def test_patience_that_is_no_number_is_said() -> None:
    assert check([], {"METRICS_PORT": "0", "HEALTH_SECONDS": "soon"}) == (
        "HEALTH_SECONDS is 'soon'; set it to a number of seconds"
    )
