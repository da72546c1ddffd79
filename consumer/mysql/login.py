"""Logging in to the replica for queries: what `REPLICA_DATABASE_URL` says, as PyMySQL takes it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CR
from pymysql.cursors import Cursor

from consumer.settings import MySQLAddress, PasswordCommandFailed, SettingsError

if TYPE_CHECKING:
    _Connection = Connection[Cursor]
else:  # it is generic in its stubs alone
    _Connection = Connection

SSL_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")


def tls_arguments(options: dict[str, str]) -> dict[str, Any]:
    """PyMySQL's TLS arguments for the URL's `ssl_mode`, `ssl_ca`, `ssl_cert` and `ssl_key`.

    Modes mean what MySQL's own clients mean by them; without one it is VERIFY_CA where a CA is named, else PREFERRED.
    Raises SettingsError for a mode that does not exist or that lacks its CA.
    """
    ca, cert, key = options.get("ssl_ca"), options.get("ssl_cert"), options.get("ssl_key")
    mode = options.get("ssl_mode", "VERIFY_CA" if ca else "PREFERRED").upper().replace("-", "_")
    if mode not in SSL_MODES:
        raise SettingsError(f"REPLICA_DATABASE_URL has an unknown ssl_mode; use one of {', '.join(SSL_MODES)}")
    if mode == "DISABLED":
        return {"ssl_disabled": True}
    client = {name: path for name, path in (("cert", cert), ("key", key)) if path}
    if mode in ("PREFERRED", "REQUIRED"):
        required = {"check_hostname": False, "verify_mode": "none", **client}
        return {"ssl": required} if mode == "REQUIRED" or client else {}
    if ca is None:
        raise SettingsError(f"REPLICA_DATABASE_URL has ssl_mode={mode} but no ssl_ca; add the path of the CA's file")
    return {"ssl": {"ca": ca, "check_hostname": mode == "VERIFY_IDENTITY", "verify_mode": "required", **client}}


class Session(_Connection):
    """PyMySQL's connection, which loads no certificates where it holds no server's against them.

    PyMySQL loads the system's own for every connection: 20 ms of CPU time, more than all else of a login.
    """

    def _create_ssl_ctx(self, sslp: dict[str, str]) -> ssl.SSLContext:
        if sslp.get("ca"):
            checked: ssl.SSLContext = super()._create_ssl_ctx(sslp)  # type: ignore[misc]
            return checked
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if "cert" in sslp:
            context.load_cert_chain(sslp["cert"], sslp.get("key"))
        return context


def login(address: MySQLAddress, connect_seconds: float, answer_seconds: float) -> Connection[Cursor]:
    """An open connection in the URL's database, with autocommit, times in UTC.

    `answer_seconds` is how long the server may be silent before the connection is taken for dead.
    Raises pymysql.err.OperationalError where it cannot be had.
    """
    try:
        password = address.renewed_password()
    except PasswordCommandFailed as error:
        raise pymysql.err.OperationalError(CR.CR_CONN_HOST_ERROR, str(error)) from error
    return Session(
        host=address.host,
        port=address.port,
        user=address.user,
        password=password,
        database=address.database,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=max(1, round(connect_seconds)),
        read_timeout=max(1, round(answer_seconds)),
        write_timeout=max(1, round(answer_seconds)),
        program_name="leadstream",
        init_command="SET time_zone = '+00:00'",
        **tls_arguments(address.options),
    )
