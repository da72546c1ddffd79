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


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("postgresql://us@a:5432,b:5433/calls", "read-write"),
        ("host=a,b dbname=calls", "read-write"),
        ("hostaddr=10.0.0.1,10.0.0.2 dbname=calls", "read-write"),
        ("postgresql://us@a,b/calls?target_session_attrs=any", "any"),
        ("postgresql://us@a/calls", None),
        ("dbname=calls", None),
    ],
)
def test_of_several_servers_the_one_is_taken_that_takes_writes_unless_the_url_says_otherwise(
    url: str, wanted: str | None
) -> None:
    """A session that only reads would stay with a standby for ever."""
    assert conninfo_to_dict(watchful(url, "leadstream stream")).get("target_session_attrs") == wanted
