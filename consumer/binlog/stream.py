"""Logging in to MySQL or MariaDB and asking for its binlog, as a replica does.

PyMySQL logs in; then its socket is ours. Sources: MySQL's `sql/rpl_replica.cc` and `sql/rpl_source.cc`, MariaDB's
`sql/slave.cc` and `sql/sql_repl.cc`, for what a replica says before it asks.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Final, Self
from uuid import NAMESPACE_DNS, uuid5

import pymysql

from consumer.binlog.decoder import BinlogDecoder
from consumer.binlog.errors import BEGIN_ANEW, BinlogCorrupt, BinlogPurged, WrongServer
from consumer.binlog.events import Event
from consumer.binlog.files import FileBeginning
from consumer.binlog.packets import FIRST_SIZE, PacketBuffer
from consumer.binlog.position import MariaDBGtids, MySQLGtids, Position, PreparedGroup, ordered_position
from consumer.binlog.rows import ROW_END, Fold
from consumer.binlog.statements import Scope
from consumer.binlog.transaction import PreparedFound
from consumer.capture import CAPTURED
from consumer.mysql.errors import ConnectionLost, NotThere, PreconditionFailed, Refused, SourceError, named
from consumer.mysql.key_folding import Foldings
from consumer.mysql.session import Replica, demand_server, log_in
from consumer.mysql.weights import UnsupportedCollation
from consumer.settings import MySQLAddress

_COM_REGISTER_SLAVE, _COM_BINLOG_DUMP, _COM_BINLOG_DUMP_GTID = 0x15, 0x12, 0x1E
_MARIADB_GTID_CAPABILITY: Final = 4
_THROUGH_GTID: Final = 4
_LAST_POSITION: Final = (1 << 32) - 1
"""COM_BINLOG_DUMP has four bytes for where to begin in a file."""
GATHERED: Final = FIRST_SIZE // 2
"""Bytes of whole packets after which `read` does not look for more."""
_ROW_ENDS: Final = f"""
SELECT LOWER(found.table_name), COALESCE(named.column_name, '{ROW_END}')
FROM information_schema.tables AS found
LEFT JOIN information_schema.columns AS named ON named.table_schema = found.table_schema
    AND named.table_name = found.table_name AND named.generation_expression = 'ROW END'
WHERE found.table_schema = %s AND found.table_type = 'SYSTEM VERSIONED'
"""  # noqa: S608 (a name of ours)
"""MariaDB's system-versioned tables, and which of their columns says until when a row was valid; it does not list the
one that has its name by itself."""


def earliest_position(address: MySQLAddress) -> Position:
    """The start of the oldest binlog that the server still has. Raises as `server_info`."""
    with closing(Replica(address)) as replica:
        rows = replica.query("SHOW BINARY LOGS")
        if not rows:
            raise PreconditionFailed(f"{address} writes no binlog; start it with --log-bin")
        gtid_set = "" if replica.is_mariadb() else str(replica.value("SELECT @@global.gtid_purged")).replace("\n", "")
        return Position(gtid_set, str(rows[0][0]), 4)


class _Line:
    """One connection on which a server sends its binlog, read into one buffer."""

    def __init__(
        self, address: MySQLAddress, server: str, server_id: int, heartbeat_seconds: float, deadline_seconds: float
    ) -> None:
        """Logs in to this `server` and says what a replica of ours understands. Raises LoginRefused, ConnectionLost."""
        self._address = address
        self._server_id = server_id
        self._deadline = deadline_seconds
        self._buffer = PacketBuffer()
        self._closed = False
        self._session = log_in(address, deadline_seconds)
        self._socket: socket.socket = self._session._sock  # type: ignore[attr-defined]
        period = int(heartbeat_seconds * 1_000_000_000)
        uuid = str(uuid5(NAMESPACE_DNS, f"leadstream.{server_id}"))
        settings = [
            "@master_binlog_checksum = 'CRC32'",
            "@source_binlog_checksum = 'CRC32'",
            f"@master_heartbeat_period = {period}",
            f"@source_heartbeat_period = {period}",
            f"@slave_uuid = '{uuid}'",
            f"@replica_uuid = '{uuid}'",
            f"@mariadb_slave_capability = {_MARIADB_GTID_CAPABILITY}",
        ]
        name = b"leadstream"
        with self._naming_errors():
            demand_server(self._session, server, address)
            with self._session.cursor() as cursor:
                cursor.execute("SET " + ", ".join(settings))
            self._command(struct.pack("<BIB", _COM_REGISTER_SLAVE, server_id, len(name)) + name + b"\0\0" + bytes(10))
            self._session._read_ok_packet()  # type: ignore[attr-defined]
        self._socket.settimeout(deadline_seconds)

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            yield
        except ConnectionLost:
            self.close()
            raise
        except (pymysql.err.MySQLError, OSError, EOFError) as error:
            self.close()
            raise named(error, self._address, "read the binlog of") from error

    def ask_file(self, file: str, pos: int) -> None:
        """Asks for everything from a position on. Raises PreconditionFailed where the protocol cannot name it."""
        if pos > _LAST_POSITION:
            raise PreconditionFailed(
                f"{file}:{pos} lies beyond 4 GB, where MySQL's protocol finds nothing without GTIDs; "
                f"set gtid_mode=ON on the server, or {BEGIN_ANEW}"
            )
        with self._naming_errors():
            self._command(struct.pack("<BIHI", _COM_BINLOG_DUMP, pos, 0, self._server_id) + file.encode())

    def ask_mysql_gtids(self, gtids: MySQLGtids) -> None:
        """Asks a MySQL for every transaction that is not in a set."""
        text = gtids.encode()
        head = struct.pack("<BHIIQI", _COM_BINLOG_DUMP_GTID, _THROUGH_GTID, self._server_id, 0, 4, len(text))
        with self._naming_errors():
            self._command(head + text)

    def ask_mariadb_gtids(self, gtids: str) -> None:
        """Asks a MariaDB for everything behind a position in its domains."""
        with self._naming_errors():
            with self._session.cursor() as cursor:
                cursor.execute("SET @slave_connect_state = %s, @slave_gtid_strict_mode = 1", (gtids,))
            self._command(struct.pack("<BIHI", _COM_BINLOG_DUMP, 4, 0, self._server_id))

    def _command(self, request: bytes) -> None:
        self._session._write_bytes(struct.pack("<I", len(request)) + request)  # type: ignore[attr-defined]
        self._session._next_seq_id = 1  # type: ignore[attr-defined]

    def read(self, decoder: BinlogDecoder | FileBeginning, events: list[Event]) -> None:
        """Waits for at least one whole packet and appends the events of all that are here; none after `close`.

        Raises ConnectionLost, and what BinlogDecoder.decode raises.
        """
        if isinstance(decoder, BinlogDecoder) and decoder.has_payload:
            decoder.decode_payload(events)
        elif self._receive():
            if self._buffer.is_continued():
                decoder.decode_event(self._buffer.take_continued()[1:], events)
            else:
                self._buffer.use(decoder.decode(self._buffer.take(), events))

    def _receive(self) -> bool:
        """Waits until at least one whole packet is here; False after `close`."""
        while wanted := self._buffer.missing():
            try:
                if self._buffer.fill(self._socket, wanted):
                    continue
                lost = ConnectionLost(f"{self._address} closed the connection")
            except TimeoutError:
                lost = ConnectionLost(f"{self._address} sent nothing for {self._deadline:g} s, not even a heartbeat")
            except OSError as error:
                lost = ConnectionLost(f"the connection to {self._address} broke: {error}")
            if self._closed:
                return False
            raise lost
        self._gather()
        return True

    def _gather(self) -> None:
        """Receives on while more is here: TLS passes on 16 KB at a time, and larger reads save 8 % of a row's time."""
        self._socket.settimeout(0)
        try:
            with suppress(OSError):  # nothing more is here; if the connection broke, the next wait says so
                while len(self._buffer) < GATHERED and self._buffer.fill(self._socket, 0):
                    pass
        finally:
            self._socket.settimeout(self._deadline)

    def is_drained(self) -> bool:
        """Whether nothing waits, neither in the buffer nor on the socket."""
        if not self._buffer.missing():
            return False
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return False
        try:
            return not select.select([self._socket], [], [], 0)[0]
        except (OSError, ValueError):
            return True

    def wake(self) -> None:
        """Ends the connection under a thread that may be reading from it."""
        self._closed = True
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the connection."""
        with suppress(pymysql.err.MySQLError, OSError):
            self._session._force_close()  # type: ignore[attr-defined]


def _utc(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


class BinlogStream:
    """The changes of the captured tables of one database, from a position on.

    `file` and `pos` are where the first transaction starts that `read` has not returned whole; `gtid_set()` is what
    precedes it. `prepared()` are XA transactions that stand before that point and are undecided: a checkpoint has to
    hold them too. `server` and `flavor` are as in ServerInfo, known after `connect`.
    """

    def __init__(
        self,
        address: MySQLAddress,
        database: str,
        start: Position,
        server_id: int,
        heartbeat_seconds: float,
        deadline_seconds: float,
        expected_server: str = "",
        *,
        strict: bool = False,
        foldings: Foldings | None = None,
        skipped: Collection[tuple[str, int]] = (),
        uncaptured: dict[bytes, str] | None = None,
    ) -> None:
        """`server_id` is ours among the server's replicas. `expected_server` is the checkpoint's; empty: any. With
        `strict`, rows of a table that lacks a column that is needed to judge are an error. Without `foldings`, text
        keys come as they are spelled. Of the events that start at the positions `skipped`, those that cannot be read
        are no errors; `uncaptured` keeps for other streams what follows from it (see BinlogDecoder)."""
        self.server = ""
        self.flavor = ""
        self._address = address
        self._database = database
        self._start = start
        self._server_id = server_id
        self._heartbeat = heartbeat_seconds
        self._deadline = deadline_seconds
        self._expected_server = expected_server
        self._left = expected_server
        """The server that `file` and `pos` are of."""
        self._strict = strict
        self._foldings = foldings
        self._skipped = skipped
        self._uncaptured = uncaptured
        self._line: _Line | None = None
        self._decoder: BinlogDecoder | None = None
        self._replica = Replica(address, deadline_seconds)
        self._failed: SourceError | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the connection and gives back what it holds; by the thread that reads."""
        self.close()
        self._drop_line()

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    @property
    def file(self) -> str:
        """The file of `pos`."""
        return self._decoder.file if self._decoder else self._start.file

    @property
    def file_begun(self) -> int:
        """When the server began `file` (s since the epoch); 0 while that is not known."""
        return self._decoder.file_begun if self._decoder else self._start.file_begun

    @property
    def pos(self) -> int:
        """Where the first transaction starts that was not returned whole."""
        return self._decoder.pos if self._decoder else self._start.pos

    def gtid_set(self) -> str:
        """What was executed up to (`file`, `pos`), in the server's notation; empty where it has no GTIDs.

        An XA transaction that is prepared only is not in the set: a server asked by GTID sends it again.
        """
        return self._decoder.gtid_set() if self._decoder else self._start.gtid_set

    def prepared(self) -> tuple[PreparedGroup, ...]:
        """XA transactions before (`file`, `pos`) that are neither committed nor rolled back."""
        return self._decoder.prepared() if self._decoder else self._start.prepared

    def connect(self) -> None:
        """Logs in and asks for the stream; after what is Passing, again from where `read` had come to.

        A transaction that was returned in part is returned again from its Begin.
        Raises what `read` raises.
        """
        self._drop_line()
        self._failed = None
        try:
            self._ask_for_stream()
        finally:
            self._replica.close()  # all questions are asked before the stream comes

    def _ask_for_stream(self) -> None:
        mariadb, by_gtid = self._demand_server()
        elsewhere = by_gtid and self._left not in ("", self.server)
        if self._expected_server == self.server and self.file_begun:
            try:
                self._demand_file(by_gtid=by_gtid)
            except WrongServer:
                if not by_gtid or self._originates(mariadb):
                    raise
                elsewhere = True
        decoder = self._decoder or self._new_decoder(self._start, mariadb)
        decoder.restart(elsewhere=elsewhere)
        if mariadb or not by_gtid:
            for group in self._start.prepared if self._decoder is None else ():
                if elsewhere:
                    raise WrongServer(
                        f"{self._address} is server {self.server}, and the XA transaction {group.xid} that was prepared"
                        f" at {group.file}:{group.pos} of server {self._left} is undecided, whose rows are found there"
                        " only; commit it or roll it back and let the reader read that at the old server, or"
                        f" {BEGIN_ANEW}"
                    )
                decoder.hold_prepared(self._read_prepared(group, mariadb))
        line = self._new_line()
        if not by_gtid:
            line.ask_file(decoder.file, decoder.pos)
        elif mariadb:
            line.ask_mariadb_gtids(decoder.gtid_set())
        else:
            line.ask_mysql_gtids(MySQLGtids(decoder.gtid_set()))
        self._decoder = decoder
        self._line = line
        self._left = self.server
        self._expected_server = self._expected_server and self.server
        if self._closed:
            line.wake()

    def check(self) -> None:
        """Logs in and finds out whether our position means anything on this server, without asking for the stream.

        Nobody is disturbed by it, not even a reader with our id. Raises Passing, LoginRefused, WrongServer,
        PreconditionFailed, and BinlogPurged where that can be known before the server is asked for the stream.
        """
        try:
            _, by_gtid = self._demand_server()
            logs = [] if by_gtid else [str(row[0]) for row in self._replica.query("SHOW BINARY LOGS")]
        finally:
            self._replica.close()
        if logs and self.file not in logs:
            raise BinlogPurged(
                f"{self._address} has purged {self.file}, which was not read to its end; connect to a server that has"
                " it, or restart at the present and verify everything (ON_PURGED=reconcile)"
            )

    def _demand_server(self) -> tuple[bool, bool]:
        """Logs in anew; whether it is a MariaDB, and whether to ask by GTID set. Raises as `connect`."""
        mariadb = self._replica.is_mariadb()
        self.flavor = "mariadb" if mariadb else "mysql"
        self.server = self._replica.server()
        by_gtid = self._may_use_gtids(mariadb)
        if not by_gtid and self._expected_server not in ("", self.server):
            raise WrongServer(
                f"{self._address} is server {self.server}, but our position {self.file}:{self.pos} is from server "
                f"{self._expected_server} and without GTIDs means nothing elsewhere; go back to that server, or "
                f"{BEGIN_ANEW}"
            )
        return mariadb, by_gtid

    def _originates(self, mariadb: bool) -> bool:
        """Whether GTIDs of ours were given out by this server: it alone would give them out once more.

        A replica whose GTIDs are all of others may have been seeded anew; its files are other ones, its stream is not.
        """
        ours = MariaDBGtids(self.gtid_set()) if mariadb else MySQLGtids(self.gtid_set())
        return ours.has_any_of(self.server)

    def _demand_file(self, *, by_gtid: bool) -> None:
        """Raises WrongServer where the server began another file of this name, or has none yet: it was reset.

        Numbers of files and GTIDs begin anew then, and once they have grown beyond ours nothing else shows it.
        By GTID, a file that was purged is not missed.
        """
        beginning = FileBeginning(self.file)
        try:
            with self._aside() as line:
                line.ask_file(self.file, 4)
                while beginning.begun is None and not self._closed:
                    line.read(beginning, [])
        except BinlogPurged:
            if not by_gtid:
                raise
            newest, _ = self._replica.binlog_position()
            if ordered_position(newest, 0) >= ordered_position(self.file, 0):
                return
        begun = beginning.begun
        if begun in (0, self.file_begun) or self._closed:
            return
        found = "it has none that late" if begun is None else f"it began a {self.file} at {_utc(begun)}"
        raise WrongServer(
            f"{self._address} was reset: our position {self.file}:{self.pos} is in a file that it began at"
            f" {_utc(self.file_begun)}, and {found}; {BEGIN_ANEW}"
        )

    def read(self) -> list[Event]:
        """Blocks until something arrived, then returns all events that are complete in the receive buffer.

        The list may be empty (a transaction of other tables) and may end inside a transaction.
        Keys beyond ASCII are asked of the server in a session of their own. Raises Passing, LoginRefused, BinlogPurged,
        WrongServer, BinlogCorrupt, UndecodableEvent, PreconditionFailed; after `close` it returns an empty list.
        """
        events: list[Event] = []
        if self._failed is not None:
            raise self._failed
        if self._decoder is None or self._line is None:
            if self._closed:
                return events
            raise ConnectionLost(f"not connected to {self._address}")
        try:
            self._line.read(self._decoder, events)
        except SourceError as error:
            if not events:
                raise
            self._failed = error  # first what was complete before it
        return events

    @property
    def drained(self) -> bool:
        """True when `read` would block: nothing waits in our buffer or on the socket."""
        if self._failed is not None or self._line is None or self._decoder is None:
            return True
        return not self._decoder.has_payload and self._line.is_drained()

    def close(self) -> None:
        """Ends the connection and wakes a blocked `read`; may be called from a signal handler or another thread."""
        self._closed = True
        line = self._line
        if line is not None:
            line.wake()

    @contextmanager
    def _aside(self) -> Iterator[_Line]:
        """A connection for what is read before the stream is asked for; `close` wakes it too."""
        line = self._line = self._new_line()
        try:
            yield line
        finally:
            self._drop_line()

    def _new_line(self) -> _Line:
        return _Line(self._address, self.server, self._server_id, self._heartbeat, self._deadline)

    def _new_decoder(self, start: Position, mariadb: bool) -> BinlogDecoder:
        fold = int(self._replica.value("SELECT @@global.lower_case_table_names")) != 0
        scope = Scope(self._database, frozenset(CAPTURED), fold)
        collations = self._collations(mariadb)
        return BinlogDecoder(
            scope,
            start,
            mariadb=mariadb,
            charsets={number: charset for number, _, charset in collations},
            strict=self._strict,
            row_ends=self._row_ends if mariadb else dict,
            skipped=self._skipped,
            uncaptured=self._uncaptured,
            folds=partial(self._fold, {number: (name, charset) for number, name, charset in collations}),
        )

    def _row_ends(self) -> dict[str, str]:
        return dict(self._replica.query(_ROW_ENDS, (self._database,)))

    def _fold(self, collations: Mapping[int, tuple[str, str]], number: int) -> Fold | None:
        """What folds text keys of a collation. Raises PreconditionFailed where nothing does exactly."""
        if self._foldings is None or number not in collations:
            return None
        try:
            return self._foldings.of(*collations[number])
        except UnsupportedCollation as error:
            raise PreconditionFailed(f"ids on {self._address} are texts: {error}") from error

    def _read_prepared(self, group: PreparedGroup, mariadb: bool) -> BinlogDecoder:
        """Reads the rows of an XA transaction that was prepared before our position.

        Raises as `read`, ConnectionLost after `close`, and BinlogCorrupt where another transaction stands there.
        """
        decoder = self._new_decoder(Position("", group.file, group.pos), mariadb)
        decoder.stop_at_prepared()
        try:
            with self._aside() as line:
                line.ask_file(group.file, group.pos)
                while (decoder.file, decoder.pos) == (group.file, group.pos) and not self._closed:
                    line.read(decoder, [])
        except PreparedFound:
            if group.xid in (found.xid for found in decoder.prepared()):
                return decoder
        if self._closed:
            raise ConnectionLost(f"not connected to {self._address}")
        raise BinlogCorrupt(
            f"{self._address} has no prepared XA transaction {group.xid} at {group.file}:{group.pos}, where our "
            f"checkpoint says it is; {BEGIN_ANEW}"
        )

    def _collations(self, mariadb: bool) -> list[tuple[int, str, str]]:
        """Number, name and charset of every collation; MariaDB lists those of Unicode 14 only per charset."""
        sql = "SELECT id, collation_name, character_set_name FROM information_schema.collations WHERE id IS NOT NULL"
        rows = self._replica.query(sql)
        if mariadb:
            with suppress(Refused, NotThere):
                rows += self._replica.query(
                    "SELECT id, full_collation_name, character_set_name"
                    " FROM information_schema.collation_character_set_applicability"
                )
        return [(int(number), str(name), str(charset)) for number, name, charset in rows if charset]

    def _may_use_gtids(self, mariadb: bool) -> bool:
        """Whether to ask by GTID set; checks that the server has our history and still has what follows it."""
        text = self.gtid_set()
        if not text:
            return False
        try:
            ours = MariaDBGtids(text) if mariadb else MySQLGtids(text)
        except ValueError as error:
            raise WrongServer(
                f"{self._address} is a {'MariaDB' if mariadb else 'MySQL'}, and our position {text} is not one of such"
                f" a server; connect to the one that was read, or {BEGIN_ANEW}"
            ) from error
        if isinstance(ours, MariaDBGtids):
            return True
        if self._replica.value("SELECT @@global.gtid_mode") != "ON":
            return False
        executed = MySQLGtids(self._replica.value("SELECT @@global.gtid_executed"))
        if not executed.contains(ours):
            raise WrongServer(
                f"{self._address} (server {self.server}) lacks transactions that were read already: it has executed "
                f"{executed}, we have read {ours}; connect to a server that has them, or {BEGIN_ANEW}"
            )
        purged = MySQLGtids(self._replica.value("SELECT @@global.gtid_purged"))
        if not ours.contains(purged):
            raise BinlogPurged(
                f"{self._address} has purged binlogs that were not read: {purged} is gone, we have read {ours}; connect"
                " to a server that has them, or restart at the present and verify everything (ON_PURGED=reconcile)"
            )
        return True
