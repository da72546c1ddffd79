"""`reconciler serve`: the schedule, the monitor and the HTTP API in one process, until it is stopped."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import structlog
import uvicorn

from consumer.measures import RECONCILER, begin, registered
from consumer.process import release
from consumer.settings import DeadLetterSettings, SettingsError, file_of, load
from consumer.stopping import Stop
from consumer.store.processes import Presence
from consumer.tuning import share_arenas
from reconciler import metrics
from reconciler.monitor.kafka import KafkaMonitor
from reconciler.monitor.servers import ServerMonitor
from reconciler.names import ATTRIBUTION, RUN_NAMES, SWEEPS
from reconciler.runner import Jobs
from reconciler.runs import aging as aging_run
from reconciler.runs.sessions import Settings
from reconciler.schedule import Schedule
from reconciler.settings import AgingSettings, ServeSettings, StreamSettings
from reconciler.tokens import LISTED, SHARED, tokens
from reconciler.web.app import create_app
from reconciler.web.precall import PrecallService
from reconciler.web.protocol import Protocol

if TYPE_CHECKING:
    from reconciler.publisher import Publisher

log = structlog.get_logger(__name__)

DRAIN_SECONDS: Final = 5
"""How long answers under way have, when the process is stopped."""
CONNECTIONS: Final = 1000
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
SWITCH_SECONDS: Final = 0.001
"""How soon a thread that computes gives way to one that answers; Python's own default is five times as long."""


def serve(settings: Settings, serving: ServeSettings, aging: AgingSettings, stop: Stop) -> bool:
    """Serves until `stop`; returns whether it failed. Raises SettingsError where the address cannot be had."""
    log.info("process_starting", process=RECONCILER, version=release())
    share_arenas()
    _log_through_structlog()
    sys.setswitchinterval(SWITCH_SECONDS)
    listening = _listen(serving)
    streaming = load(StreamSettings)
    begin(RECONCILER, streaming.topic_prefix)
    monitor = ServerMonitor(settings, stop.event, ZoneInfo(aging.aging_timezone))
    jobs = Jobs(settings, aging, stop.event, monitor.known, load(DeadLetterSettings).dead_letter_days)
    precalls = PrecallService(settings, monitor, serving.precall_deadline_ms)
    stream = KafkaMonitor(streaming, stop.event)
    publisher = _publisher(settings, streaming, stop)
    app = create_app(
        precalls,
        jobs,
        monitor,
        tokens(serving.api_token, serving.api_tokens, _token_files()),
        stream.seen,
        aging.aging_timezone,
        _hosts(serving),
        protect_reads=serving.http_protect_reads,
        grafana=serving.grafana_url,
        runbook=serving.runbook_url,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    http = threading.Thread(target=_serve_http, args=(server, listening, stop), name="http")
    schedule = Schedule(jobs, aging.aging_timezone, serving.recheck_seconds) if _writes(settings) else None
    beside: list[ServerMonitor | KafkaMonitor | Publisher] = (
        [monitor, stream] if publisher is None else [monitor, stream, publisher]
    )
    publishing = publisher.state if publisher is not None else lambda: None
    monitored = metrics.Monitored(
        monitor.snapshot,
        stream.seen,
        _modes(settings),
        lambda: _switched_off(settings) | jobs.left_to_others(),
        publishing,
    )
    with (
        registered(monitored),
        _presence(settings),
    ):
        for one in beside:
            one.start()
        http.start()
        if schedule is not None:
            schedule.start()
        host, port = listening.getsockname()[:2]
        log.info("reconciler_started", address=f"{host}:{port}", runs=schedule.names if schedule else [])
        stop.event.wait()
        failed = not stop.by
        server.should_exit = True
        if schedule is not None:
            schedule.stop()
        http.join()
        jobs.close()
        for one in beside:
            one.join()
    log.info("process_stopped", process=RECONCILER)
    return failed


def _token_files() -> dict[str, Path]:
    """The files that tokens come from."""
    return {name: Path(path) for name in (SHARED, LISTED) if (path := file_of(name))}


def _presence(settings: Settings) -> AbstractContextManager[object]:
    """Reports this process in PostgreSQL, where anything is written there."""
    if not settings.discovery.smart_discovery_enabled:
        return nullcontext()
    return Presence(settings.database.conninfo, RECONCILER)


def _publisher(settings: Settings, streaming: StreamSettings, stop: Stop) -> Publisher | None:
    """Who writes conversions to their topic; None where nobody wants that. Raises SettingsError without a Kafka."""
    if not streaming.publish_conversions:
        return None
    if not streaming.kafka_bootstrap_servers:
        raise SettingsError("PUBLISH_CONVERSIONS is true, and there is no Kafka; set KAFKA_BOOTSTRAP_SERVERS, too")
    if not settings.discovery.smart_discovery_enabled:
        return None
    from reconciler.publisher import Publisher  # Kafka's client is loaded where it is used

    return Publisher(streaming, settings.database.conninfo, stop.event)


def _hosts(serving: ServeSettings) -> frozenset[str] | None:
    """The names of ours; None where nobody said which, and others than this machine may ask."""
    if not serving.http_allowed_hosts and serving.http_host not in LOOPBACK:
        return None
    return serving.http_allowed_hosts


def _switched_off(settings: Settings) -> frozenset[str]:
    if not settings.discovery.smart_discovery_enabled:
        return frozenset(RUN_NAMES)
    aging = {aging_run.NAME, ATTRIBUTION} if settings.discovery.shadow_mode else set()
    return frozenset(aging.union(SWEEPS) - settings.sweeps.sweeps)


def _modes(settings: Settings) -> dict[str, bool]:
    """Which of `metrics.MODES` this process runs in."""
    discovery = settings.discovery
    return {
        metrics.SHADOW: discovery.shadow_mode,
        metrics.DISABLED: not discovery.smart_discovery_enabled,
        metrics.SWEEPS_OFF: settings.sweeps.sweeps != frozenset(SWEEPS),
    }


def _writes(settings: Settings) -> bool:
    writes = settings.discovery.smart_discovery_enabled
    if not writes:
        log.warning(
            "discovery_disabled",
            reason="SMART_DISCOVERY_ENABLED is false",
            hint="requests are answered; set it to true and start again to run anything",
        )
    return writes


def _listen(serving: ServeSettings) -> socket.socket:
    host, port = serving.http_host, serving.http_port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise SettingsError(
            f"{host}:{port} cannot be listened on ({error.strerror}); set HTTP_HOST and HTTP_PORT to a free address"
        ) from error


def _serve_http(server: uvicorn.Server, listening: socket.socket, stop: Stop) -> None:
    """Signals are the main thread's; whatever ends the server ends the process."""
    try:
        server.run(sockets=[listening])
    finally:
        stop.request()


class _Structured(logging.Handler):
    """Lines of libraries, in our own form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Passes one on."""
        reason, error = record.getMessage(), record.exc_info
        log.log(record.levelno, "library_reported", library=record.name, reason=reason, exc_info=error)


def _log_through_structlog() -> None:
    for name, level in (("uvicorn", logging.WARNING), ("apscheduler", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [_Structured()]
        logger.propagate = False
        logger.setLevel(level)
