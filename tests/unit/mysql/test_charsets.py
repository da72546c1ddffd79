"""Texts of MySQL's character sets, as exact as their codecs and as lenient as somebody who judges by none of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.mysql.charsets import decoder, lenient_decoder


@pytest.mark.parametrize(
    ("charset", "text", "data"),
    [
        ("latin1", "aä€\x81", b"a\xe4\x80\x81"),
        ("utf16", "aä😀", "aä😀".encode("utf-16-be")),
        ("utf16le", "aä😀", "aä😀".encode("utf-16-le")),
        ("utf32", "aä😀", "aä😀".encode("utf-32-be")),
        ("utf8mb3", "aä€", "aä€".encode()),
        ("latin2", "ł", b"\xb3"),
        ("cp1251", "я", b"\xff"),
        ("sjis", "あ", b"\x82\xa0"),
        ("gbk", "中", b"\xd6\xd0"),
    ],
)
def test_character_sets_are_decoded(charset: str, text: str, data: bytes) -> None:
    decode = decoder(charset)
    assert decode is not None
    assert decode(data) == text


def test_a_character_set_without_an_exact_codec_is_none() -> None:
    assert decoder("geostd8") is None


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("utf8mb4", b"a\xffb\xc3", "a\ufffdb\ufffd"),
        ("utf8mb4", "größer 😀".encode(), "größer 😀"),
        ("latin1", b"gr\xf6\xdfer", "größer"),
        ("geostd8", b"base \xc0\xc1.", "base \ufffd\ufffd."),
        ("unheard of", b"x\x80", "x\ufffd"),
        ("ucs2", b"\x00a\x00", "a\ufffd"),
        ("ascii", b"a\x80", "a\ufffd"),
    ],
)
def test_text_that_nobody_judges_by_is_taken_with_replacements(charset: str, data: bytes, text: str) -> None:
    assert lenient_decoder(charset)(data) == text


CHARSETS = ("big5", "dec8", "eucjpms", "gb18030", "gbk", "greek", "hp8", "sjis", "swe7", "tis620", "ucs2", "utf16",
            "utf16le", "utf32", "utf8mb3", "utf8mb4")  # fmt: skip


@given(st.sampled_from(CHARSETS), st.binary(max_size=40))
def test_no_bytes_of_any_charset_are_too_wrong_for_a_lenient_reader(charset: str, data: bytes) -> None:
    text = lenient_decoder(charset)(data)
    assert text.encode().decode() == text
    exact = decoder(charset)
    if exact is not None and "\ufffd" not in text:
        assert exact(data) == text
