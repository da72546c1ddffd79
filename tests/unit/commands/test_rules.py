"""Where files of rules are read from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environments import environment

PROGRAM = Path(sys.executable).parent / "consumer"


def check(file: str, given: bytes) -> tuple[int, str]:
    """The exit code of `consumer rules check FILE`, and what it says."""
    ended = subprocess.run(
        [PROGRAM, "rules", "check", file], input=given, capture_output=True, env=environment(), check=False
    )
    return ended.returncode, (ended.stdout + ended.stderr).decode()


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (b'[claims]\nclosed = ["lost"]\n', 0, "standard input can be adopted; fingerprint "),
        (b'[claims]\r\nclosed = ["lost"]\r\n', 0, "standard input can be adopted; fingerprint "),
        (b"[claims]\nclosed = 1\n", 1, "standard input: claims.closed "),
        (b"# \xff", 2, "standard input is not UTF-8 (byte 2); "),
    ],
)
def test_rules_are_read_from_standard_input(given: bytes, code: int, said: str) -> None:
    ended, told = check("-", given)
    assert ended == code
    assert said in told


def test_a_file_of_rules_is_named_where_it_cannot_be_read(tmp_path: Path) -> None:
    ended, told = check(str(tmp_path / "absent"), b"")
    assert ended == 2
    assert f"{tmp_path / 'absent'} cannot be read (No such file or directory)" in told
