"""Words that collations treat in ways nobody expects."""

# ruff: noqa: E501, RUF001 - that characters look alike is what these words are for

from __future__ import annotations

from typing import Final

RULE_WORDS: Final = (
    "",
    "approved",
    "cancelled",
    "chased",
    "maß",
    "på",
    "ＩＮ",
    "İl",
    "cafe\u0301",
    "мой",
    "カード",
    "ij1",
)
"""What stands in a rules file."""

EMOJI_WORD: Final = "🙂"
"""Another; older collations call it equal to all of a million characters, which takes seconds to find out."""

CASES: Final = ("APPROVED", "Approved", "aPPROVED", "CANCELLED", "CHASED", "Chased", "cHased", "MASS", "Mass", "mass")
BLANKS: Final = (
    "approved ", "approved    ", " approved", "approved\t", "approved \t", "approved\n", "approved\u00a0", "approved\u3000",
    "approved\u2003 ", "appr oved", " ", "   ", "\t", "\u00a0",
)  # fmt: skip
INVISIBLE: Final = (
    "approved\u200d", "appro\u200dved", "\u200bapproved", "approved\0", "appro\0ved", "\x01approved", "approved\x7f",
    "approved \x01", "approved\x01 ", "app\xadroved", "approved\ufe0f", "approved\u2060", "\ufeffapproved", "\0", "\x01",
    "c\u200dhased", "ch\u00adased",
)  # fmt: skip
ACCENTS: Final = (
    "approvéd", "approve\u0301d", "âpproved", "a\u0302pproved", "ápprövêd", "cancélled", "cançelled", "canceƚƚed",
    "cancełłed", "café", "CAFÉ", "CAFE\u0301", "cafè", "cafe", "cafe\u0301\u0301", "cafe\u0323\u0301", "cafe\u0301\u0323",
    "chāsed", "çhased", "cĥased", "c\u030chased",
)  # fmt: skip
LETTERS: Final = (
    "mass", "maß", "MAẞ", "maẞ", "maſs", "masz", "pa", "paa", "PAA", "pAa", "PÅ", "pa\u030a", "pä", "pae", "pæ", "pø", "po",
    "p\u212b", "Il", "il", "ıl", "i\u0307l", "I\u0307l", "ïl", "IN", "in", "In", "ın", "ｉｎ", "ⅰn", "ĳ1", "Ĳ1", "IJ1", "Ij1",
    "iJ1", "ij\u00b9", "ij１", "ij①", "ij½", "ÿ1", "y1", "approνed", "аpproved", "𝐚pproved", "𝖆𝖕𝖕𝖗𝖔𝖛𝖊𝖉", "ⓐⓟⓟⓡⓞⓥⓔⓓ", "ａｐｐｒｏｖｅｄ",
    "approveð", "approveđ", "approvedd", "approve", "pproved", "apprоved",
)  # fmt: skip
CONTRACTIONS: Final = (
    "c-hased", "CHased", "hcased", "dzs", "Dzs", "ddzs", "ccs", "cscs", "ll", "LL", "l·l", "canceꞎed", "cancelꝇed", "lj", "ǉ",
    "ñ", "n\u0303", "ng", "rr", "łl", "cance\u1efbed",
)  # fmt: skip
SCRIPTS: Final = (
    "МОЙ", "мои", "мои\u0306", "мои\u0306\u0306", "Моѝ", "МОИ", "カート", "カート\u3099", "ｶｰﾄﾞ", "かーど", "カアド", "カド", "カ゛ド", "ガード",
    "カーーード", "ヵード", "カード ", "カ―ド", "σ", "ς", "Σ", "เก", "กเ", "กี้", "กี\u0e49", "한", "\u1112\u1161\u11ab", "中", "ا", "أ", "ا\u0654",
    "क़", "क\u093c",
)  # fmt: skip
EMOJI: Final = (
    "🙂",
    "🙂 ",
    "🎉",
    "😀",
    "🙂\ufe0f",
    "🙂🙂",
    "👍",
    "👍🏽",
    "𐐀",
    "𝄞",
    "\U000e0061",
    "\U0010fffd",
    "\ufffd",
    "☺",
    "?",
)

NASTY: Final = tuple(
    dict.fromkeys(
        (*RULE_WORDS, EMOJI_WORD, *CASES, *BLANKS, *INVISIBLE, *ACCENTS, *LETTERS, *CONTRACTIONS, *SCRIPTS, *EMOJI)
    )
)  # fmt: skip

WITH_LONG_KANA: Final = ("カード",)
"""Words with kana that are drawn out: the collations of Japanese weigh the mark by the kana before it."""

KEYS: Final = (
    "", "abc-1", "ABC-1", "Abc-1", "abc-1 ", "ABC-1   ", " abc-1", "abc-1\t", "abc-1\n", "abc-1\0", "abc-1\x01", "abc\x01-1",
    "abc-1\x01 ", "abc-1 \x01", "abc-1\x7f", "abc_1", "abc1", "abc 1", "abc~1", "9F86D081-884C-4D63-A159-AA4C19E1C6F3",
    "9f86d081-884c-4d63-a159-aa4c19e1c6f3", "9f86d081-884c-4d63-a159-å4c19e1c6f3", "ch-1", "CH-1", "Ch-1", "cH-1", "c-h1",
    "c\xadh-1", "c\u200dh-1", "aa", "AA", "å", "Å", "a\u030a", "aA", "a", "A", "á", "a\u0301", "ä", "ae", "æ", "ss", "ß", "SS",
    "dzs", "DZS", "ddzs", "ll", "LL", "lj", "ǉ", "ij", "ĳ", "y", "ÿ", "i", "I", "ı", "İ", "ａｂｃ-１", "①", "1", "½", "1/2", "fi", "ﬁ",
    "long s", "long ſ", "🙂", "🎉", "カ", "ｶ", "か", "й", "и\u0306", "и", "σ", "ς", "Σ", "中", "´", "`", "^", "¨", "≡41", "abc-1\u00a0",
    "abc-1\u3000", "\t", " ", "\0", "\x7f", "\u00a0", "v", "w", "V", "W", "th", "þ", "đ", "d", "ñ", "n", "[", "]", "{", "|", "\\",
)  # fmt: skip
"""Keys as somebody might write them."""
