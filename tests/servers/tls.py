"""Certificates for a test: an authority, a server's pair and a client's, where servers of every kind may read them."""

from __future__ import annotations

import ipaddress
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.servers import choice
from tests.servers.places import home, open_folder


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates for 127.0.0.1 and for clients."""

    def __init__(self, name: str = "leadstream tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def pair(self, name: str) -> Pair:
        """A pair whose common name is `name`, for 127.0.0.1 as a server and for anybody as a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self._name, key.public_key())
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = builder.add_extension(uses, critical=False).sign(self._key, hashes.SHA256())
        return Pair(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
    )


class ServerFiles:
    """A folder that servers read from; `seen` is its path as MySQL, which lives in a chroot, names it."""

    def __init__(self) -> None:
        choice.choose().install("mysql")  # whose folder this lies in: made before it, it would pass for a MySQL
        name = f"tls-{uuid.uuid4().hex[:8]}"
        self.folder = open_folder(home() / "mysql" / "srv" / name)
        self.seen = Path("/srv") / name

    def write(self, name: str, content: bytes, user: str | int | None = None) -> Path:
        """Writes a file that `user` alone may read (None: everybody) and returns its path."""
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600 if user is not None else 0o644)
        if user is not None:
            shutil.chown(path, user)
        return path

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder)
