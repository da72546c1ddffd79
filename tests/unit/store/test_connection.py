"""What every session with PostgreSQL is opened with."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from consumer.store.connection import watchful


@pytest.mark.parametrize("more", ["", "?client_encoding=LATIN1&application_name=centre"])
def test_texts_travel_in_utf_8_under_our_name_whatever_the_url_says(more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    found = conninfo_to_dict(watchful(f"postgresql://us@centre/calls{more}", "leadstream stream"))
    assert (found["client_encoding"], found["application_name"]) == ("UTF8", "leadstream stream")
