"""What the servers' own tools print of compressed events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.audit import tool
from consumer.audit.rows import Row, Spot
from consumer.audit.tool import shown
from consumer.settings import MySQLAddress

MARIADB = """# at 339
#261129 20:16:39 server id 11  end_log_pos 381 CRC32 0xf1578aa7 \tGTID 0-11-6684 trans thread_id=89
START TRANSACTION
# at 381
# at 469
#261129 20:16:39 server id 11  end_log_pos {0} CRC32 0x2266a24a \tAnnotate_rows:
#Q> insert into users values (1),(2)
#261129 20:16:39 server id 11  end_log_pos {1} CRC32 0xfc4df817 \tTable_map: `shop`.`users` mapped to number 35
# Columns(`id` INT NOT NULL)
# Primary Key(id)
# at 539
#261129 20:16:39 server id 11  end_log_pos {2} CRC32 0x04a61a12 \tWrite_compressed_rows: table id 35 flags: STMT_END_F
### INSERT INTO `shop`.`users`
### SET
###   @1=1 /* INT meta=0 nullable=0 is_null=0 */
### INSERT INTO `shop`.`users`
### SET
###   @1=2 /* INT meta=0 nullable=0 is_null=0 */
# Number of rows: 2
# at 601
# at 649
#261129 20:16:39 server id 11  end_log_pos {3} CRC32 0x91f3cad8 \tAnnotate_rows:
#Q> delete from users
#261129 20:16:39 server id 11  end_log_pos {4} CRC32 0xfc4df817 \tTable_map: `shop`.`users` mapped to number 35
# Columns(`id` INT NOT NULL)
# Primary Key(id)
# at 719
#261129 20:16:39 server id 11  end_log_pos {5} CRC32 0x40ea11c2 \tDelete_compressed_rows: table id 35 flags: STMT_END_F
### DELETE FROM `shop`.`users`
### WHERE
###   @1=1 /* INT meta=0 nullable=0 is_null=0 */
# at 793
#261129 20:16:39 server id 11  end_log_pos 824 CRC32 0x1e448626 \tXid = 616
COMMIT/*!*/;
"""


@pytest.mark.parametrize(
    ("ends", "places"),
    [((469, 539, 601, 649, 719, 793), (539, 719)), ((0,) * 6, (451, 583))],
    ids=["MariaDB until 11.3, or with binlog_legacy_event_pos", "from 11.4 on"],
)
def test_rows_stand_where_a_replica_has_them(ends: tuple[int, ...], places: tuple[int, int]) -> None:
    text = MARIADB.format(*ends)
    assert [row.spot for row in shown("binlog.000004", "shop", iter(text.splitlines(keepends=True)))] == [
        Spot("binlog.000004", places[0], 0), Spot("binlog.000004", places[0], 1), Spot("binlog.000004", places[1], 0),
    ]  # fmt: skip


@pytest.fixture
def address() -> MySQLAddress:
    return MySQLAddress("mysql://me:secret@127.0.0.1:1/shop")


@pytest.fixture
def rows_of(tmp_path: Path, address: MySQLAddress) -> Callable[[str, int], list[Row]]:
    """What is read of a tool that shows this text, where the last event begins at a position."""

    def read(text: str, last: int) -> list[Row]:
        program, output = tmp_path / "mysqlbinlog", tmp_path / "output"
        output.write_text(text)
        program.write_text(f"#!/bin/sh\nexec cat {output}\n")
        program.chmod(0o755)
        return list(tool.rows(str(program), address, "shop", "binlog.000004", 4, None, last, "mariadb"))

    return read


@pytest.mark.parametrize(
    ("ends", "last"), [((469, 539, 601, 649, 719, 793), 719), ((0,) * 6, 583)], ids=["ends", "no ends"]
)
def test_a_tool_that_ends_before_the_last_event_is_no_end_of_the_binlog(
    ends: tuple[int, ...], last: int, rows_of: Callable[[str, int], list[Row]]
) -> None:
    """A server that shuts down ends it so, and the tool's exit code is 0."""
    text = MARIADB.format(*ends)
    assert len(rows_of(text, last)) == 3
    with pytest.raises(tool.ToolFailed, match=rf"ended the binlog before binlog\.000004:{last}, while"):
        rows_of(text[: text.index("# at 719")], last)


PAYLOAD = """# at 339
#261129 20:16:39 server id 11  end_log_pos 520 CRC32 0xf1578aa7 \tTransaction_Payload\t\tpayload_size=120
# Start of compressed events/decompressed
"""


def test_an_event_that_holds_a_whole_transaction_is_the_last_too(rows_of: Callable[[str, int], list[Row]]) -> None:
    assert rows_of(PAYLOAD, 339) == []
    with pytest.raises(tool.ToolFailed, match=r"before binlog\.000004:340"):
        rows_of(PAYLOAD, 340)


def test_a_tool_that_waits_for_a_server_that_is_gone_is_ended(
    tmp_path: Path, address: MySQLAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "SILENT_SECONDS", 0.2)
    program = tmp_path / "mysqlbinlog"
    program.write_text("#!/bin/sh\necho '# at 4'\nexec sleep 600\n")
    program.chmod(0o755)
    with pytest.raises(tool.ToolFailed, match=r"showed nothing for 0\.2 s"):
        list(tool.rows(str(program), address, "shop", "binlog.000001", 4, None, 4, "mysql"))
