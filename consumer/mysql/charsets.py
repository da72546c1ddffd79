"""MySQL's character sets as Python's codecs, for text columns that are not UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

BINARY: Final = 63
"""The collation of columns that hold bytes, not text."""

_CODECS: Final[Mapping[str, str]] = {
    "ascii": "ascii",
    "big5": "big5hkscs",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "cp932": "cp932",
    "eucjpms": "euc_jp",
    "euckr": "cp949",
    "gb18030": "gb18030",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "greek": "iso8859-7",
    "hebrew": "iso8859-8",
    "hp8": "hp-roman8",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "macce": "mac-latin2",
    "macroman": "mac-roman",
    "sjis": "shift_jis",
    "tis620": "tis-620",
    "ucs2": "utf-16-be",
    "ujis": "euc_jp",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
}
"""By MySQL's name; those that Python has no exact codec for are absent, and a captured column in one is an error."""

_LATIN1: Final = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256))
"""MySQL's latin1 is cp1252 whose five undefined bytes stand for the control characters of the same number."""

_LATIN1_BYTES: Final = codecs.charmap_build(_LATIN1)


def _latin1(text: bytes) -> str:
    return codecs.charmap_decode(text, "strict", _LATIN1)[0]


def _to_latin1(text: str) -> bytes:
    return codecs.charmap_encode(text, "strict", _LATIN1_BYTES)[0]


def decoder(charset: str) -> Callable[[bytes], str] | None:
    """What turns bytes of a character set into text (raising UnicodeDecodeError), None where there is no exact way."""
    if charset == "latin1":
        return _latin1
    codec = _CODECS.get(charset)
    return partial(bytes.decode, encoding=codec) if codec else None


def lenient_decoder(charset: str) -> Callable[[bytes], str]:
    """What turns bytes of any character set into some text and never raises: what cannot be read is U+FFFD.

    For columns that nobody judges by. Of a character set without an exact codec only ASCII is read.
    """
    if charset == "latin1":
        return _latin1
    return partial(bytes.decode, encoding=_CODECS.get(charset, "ascii"), errors="replace")


def encoder(charset: str) -> Callable[[str], bytes] | None:
    """What turns text into bytes of a character set (raising UnicodeEncodeError), None where there is no exact way."""
    if charset == "latin1":
        return _to_latin1
    codec = _CODECS.get(charset)
    return partial(str.encode, encoding=codec) if codec else None


def is_utf8(charset: str) -> bool:
    """Whether bytes of a character set are UTF-8 (or ASCII, a part of it)."""
    return _CODECS.get(charset) in ("utf-8", "ascii")
