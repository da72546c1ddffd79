"""How the URL's TLS options reach the driver."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from consumer.mysql.login import Session, tls_arguments
from consumer.settings import SettingsError


def test_without_options_tls_is_used_where_the_server_offers_it() -> None:
    assert tls_arguments({}) == {}
    assert tls_arguments({"ssl_mode": "DISABLED"}) == {"ssl_disabled": True}


def test_a_required_connection_is_encrypted_but_not_verified() -> None:
    assert tls_arguments({"ssl_mode": "required"}) == {"ssl": {"check_hostname": False, "verify_mode": "none"}}


def test_a_named_ca_is_verified_and_the_host_only_where_asked() -> None:
    verified = {"ca": "/ca.pem", "check_hostname": False, "verify_mode": "required"}
    assert tls_arguments({"ssl_ca": "/ca.pem"}) == {"ssl": verified}
    identity = tls_arguments({"ssl_ca": "/ca.pem", "ssl_mode": "VERIFY_IDENTITY"})
    assert identity == {"ssl": {**verified, "check_hostname": True}}


def test_a_mode_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(SettingsError, match="no ssl_ca"):
        tls_arguments({"ssl_mode": "VERIFY_CA"})
    with pytest.raises(SettingsError, match="unknown ssl_mode"):
        tls_arguments({"ssl_mode": "MAYBE"})


def test_certificates_are_loaded_only_where_the_servers_is_held_against_them() -> None:
    """Loading the system's own takes 20 ms of CPU time for each connection."""
    for arguments in (tls_arguments({}), tls_arguments({"ssl_mode": "REQUIRED"})):
        session: Any = Session(**arguments, defer_connect=True)
        assert session.ctx.cert_store_stats()["x509"] == 0
        assert session.ctx.verify_mode is ssl.CERT_NONE
        assert session._ssl_required is bool(arguments)
    system = ssl.get_default_verify_paths().cafile
    checked: Any = Session(**tls_arguments({"ssl_mode": "VERIFY_IDENTITY", "ssl_ca": system or ""}), defer_connect=True)
    assert checked.ctx.cert_store_stats()["x509_ca"] > 0
    assert checked.ctx.verify_mode is ssl.CERT_REQUIRED
    assert checked.ctx.check_hostname
