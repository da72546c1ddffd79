"""What lies in Kafka of a stretch: rows by their binlog position, heartbeats, and notices in the place of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from consumer.audit.rows import FilePosition, Lost, Message, Notice, Spot, order
from consumer.capture import CAPTURED, OF_CLAIMS
from consumer.lane import lane_of, lane_of_key
from consumer.settings import KafkaSettings
from consumer.stream.ends import ends_in_kafka
from consumer.stream.envelope import AuditMessage, read_audited
from consumer.stream.errors import KafkaLost
from consumer.stream.partition import Partitions
from consumer.stream.topics import HEARTBEATS

ANSWER_SECONDS: Final = 120.0
"""How long Kafka may take for the next message: longer than a transaction of a reader that died stays open."""
LOOK_BACK_MINUTES: Final = (10, 60, 360, 1440, 14_400)
"""How far before a stretch the newest heartbeat is sought, one after the other; a reader may have been away."""
CLOCKS_APART_MS: Final = 60_000
"""How far the reader's clock may be behind that of the server."""


_PROMPT: Final = {"fetch.wait.max.ms": "10"}
"""Of partition after partition: the broker holds the fetch at one's end back until then, and the next one waits."""


class StreamBeat(NamedTuple):
    """Where the stream stood (`server`, `file`, `pos`) when the reader wrote it at `ms` (since 1970, its own clock)."""

    ms: int
    epoch: int
    server: str
    file: str
    pos: int


class BinlogNow(NamedTuple):
    """A server's binlog: where it ends, and the file that the reader stands in, with when (ms since 1970, the server's
    clock) that was begun; 0: unknown."""

    end: FilePosition
    file: str
    begun_ms: int

    def holds(self, beat: StreamBeat) -> bool:
        """Whether a heartbeat may be of it; one of before a reset stands beyond its end, or in a file begun later."""
        begun_later = beat.ms < self.begun_ms - CLOCKS_APART_MS and order((beat.file, 0)) >= order((self.file, 0))
        return not begun_later and order((beat.file, beat.pos)) <= order(self.end)


def newest_history(beats: list[StreamBeat], server: str, epoch: int, binlog: BinlogNow) -> list[StreamBeat]:
    """The heartbeats behind the last one of another server or epoch, or of before a reset of this server."""
    others = [
        number
        for number, beat in enumerate(beats, 1)
        if (beat.server, beat.epoch) != (server, epoch) or not binlog.holds(beat)
    ]
    return beats[others[-1] if others else 0 :]


class Misplaced(NamedTuple):
    """A message that no reader of ours wrote so, and why; `file`, `pos` and `row` are what it claims."""

    table: str
    spot: Spot
    where: str
    why: str


class Stream:
    """The topics of one deployment, each partition from a moment on to where it ended when this was made.

    Of what was not decided then, it waits for what becomes of it.
    """

    def __init__(self, settings: KafkaSettings, epoch: int, database: str) -> None:
        """Raises KafkaException, KafkaLost."""
        self._name = settings.topic
        self._lanes = settings.lanes
        self._epoch = epoch
        self._database = database
        self._had_others = False
        self._beats: list[StreamBeat] = []
        self._partitions = Partitions(settings, "audit", ANSWER_SECONDS, more=_PROMPT)
        topics = (*CAPTURED, HEARTBEATS)
        ends = ends_in_kafka([settings.topic(topic) for topic in topics], settings)
        self._bounds: dict[tuple[str, int], tuple[int, int]] = {}
        for lane in range(settings.lanes):
            found = ends(lane) or ends(lane)  # by another client, which knows who leads the partitions now
            if found is None:
                self.close()
                raise KafkaLost(f"Kafka at {settings.kafka_bootstrap_servers} does not say where partitions {lane} end")
            for topic, end in zip(topics, found, strict=True):
                first, _ = self._partitions.bounds(self._name(topic), lane)
                self._bounds[topic, lane] = first, end

    def close(self) -> None:
        """Ends the connection."""
        self._partitions.close()

    def heartbeats(self, since_ms: int, server: str, binlog: BinlogNow) -> list[StreamBeat]:
        """Those of lane 0 that say where the stream stood in this server's binlog, in this epoch, from the newest
        before `since_ms` on; without an older one, from the first that is there."""
        found: list[StreamBeat] = []
        for minutes in LOOK_BACK_MINUTES:
            found = [
                StreamBeat(
                    message.ts_ms, message.lane.epoch, message.source.server, message.source.file, message.source.pos
                )
                for message, _, _, _ in self._read(HEARTBEATS, 0, since_ms - minutes * 60_000)
                if message is not None and message.source.server
            ]
            if any(beat.ms <= since_ms for beat in found):
                break
        ours = self._beats = newest_history(found, server, self._epoch, binlog)
        self._had_others = len(ours) < len(found)
        earlier = [beat for beat in ours if beat.ms <= since_ms]
        return [*earlier[-1:], *(beat for beat in ours if beat.ms > since_ms)]

    def newest_before(self, ms: int) -> StreamBeat | None:
        """Of the heartbeats that were found, the newest before a moment; without one, the first."""
        return next((beat for beat in reversed(self._beats) if beat.ms <= ms), next(iter(self._beats), None))

    @property
    def had_earlier(self) -> bool:
        """Whether heartbeats are gone, or are of another history, that were written before those of `heartbeats`."""
        return self._had_others or self._bounds[HEARTBEATS, 0][0] > 0

    def notices(self, since_ms: int) -> list[Notice]:
        """What asks for leads to be read live and says in which rows' place, in the lanes of these leads."""
        found = []
        for lane in range(self._lanes):
            for message, _, _, _ in self._read(HEARTBEATS, lane, since_ms):
                if message is None or message.lane.recheck is None or message.lane.epoch != self._epoch:
                    continue
                source, user_id = message.source, message.lane.user_id
                if source.file and (user_id is None or lane_of(user_id, self._lanes) == lane):
                    row = source.row if source.row >= 0 else None
                    found.append(Notice((source.file, source.pos), row, user_id, lane))
        return found

    def lost(self, since_ms: int) -> list[Lost]:
        """What Kafka has deleted of messages that were written after `since_ms`."""
        found = []
        for (topic, lane), (low, _) in self._bounds.items():
            if not low:
                continue
            for message, _, _, _ in self._read(topic, lane, 0):
                if message is None or message.lane.epoch != self._epoch or not message.source.file:
                    continue
                if message.ts_ms >= since_ms:
                    position = message.source.file, message.source.pos
                    found.append(Lost("" if topic == HEARTBEATS else topic, lane, position))
                break
            else:
                found.append(Lost("" if topic == HEARTBEATS else topic, lane, None))
        return found

    def rows(self, since_ms: int) -> Iterator[Message | Misplaced]:
        """The messages of rows. Raises KafkaLost, KafkaException."""
        for topic in CAPTURED:
            for lane in range(self._lanes):
                yield from self._rows_of(topic, lane, since_ms)

    def _rows_of(self, topic: str, lane: int, since_ms: int) -> Iterator[Message | Misplaced]:
        for message, key, offset, undecodable in self._read(topic, lane, since_ms):
            where = f"{topic}[{lane}] offset {offset}"
            if message is None:
                yield Misplaced(topic, Spot("", 0, 0), where, undecodable)
                continue
            source, place = message.source, message.lane
            if place.epoch != self._epoch:  # of before the lanes were numbered anew, and before the stretch
                continue
            spot = Spot(source.file, source.pos, source.row)
            why = self._wrong_lane(message, topic, key, lane)
            yield Message(spot, source.table, message.op, message.before, message.after, lane, offset, bool(why))
            if why:
                yield Misplaced(topic, spot, where, why)

    def _wrong_lane(self, message: AuditMessage, topic: str, key: bytes, lane: int) -> str:
        """Why it does not belong where it lies; "" where it does."""
        user_id, image = message.lane.user_id, message.after if message.after is not None else message.before
        if message.source.table != topic or image is None:
            return "it is of another table"
        if lane_of_key(key, self._lanes) != lane:
            return "its key belongs to another partition"
        if user_id is not None and key != b"%d" % user_id:
            return "its key is not its user's id"
        if topic not in OF_CLAIMS and image.get(CAPTURED[topic].ref) != user_id:
            return "its row is another user's"
        return ""

    def _read(self, topic: str, lane: int, since_ms: int) -> Iterator[tuple[AuditMessage | None, bytes, int, str]]:
        name, (low, high) = self._name(topic), self._bounds[topic, lane]
        start = max(low, self._partitions.offset_at(name, lane, since_ms)) if since_ms > 0 else low
        if start >= high:
            return
        for found in self._partitions.messages(name, lane, start, high):
            offset = found.offset() or 0
            if offset >= high:
                return
            try:
                yield read_audited(found.value() or b""), found.key() or b"", offset, ""
            except ValueError as error:  # msgspec's errors, and UnicodeDecodeError
                yield None, found.key() or b"", offset, f"it is no message of ours ({type(error).__name__})"
            if offset == high - 1:
                return
