"""What the servers' own tools print of compressed events."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.audit import tool
from consumer.audit.rows import Spot
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


def test_a_tool_that_waits_for_a_server_that_is_gone_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "SILENT_SECONDS", 0.2)
    program = tmp_path / "mysqlbinlog"
    program.write_text("#!/bin/sh\necho '# at 4'\nexec sleep 600\n")
    program.chmod(0o755)
    address = MySQLAddress("mysql://me:secret@127.0.0.1:1/shop")
    with pytest.raises(tool.ToolFailed, match=r"showed nothing for 0\.2 s"):
        list(tool.rows(str(program), address, "shop", "binlog.000001", 4, None, "mysql"))
