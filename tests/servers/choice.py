"""Which way of having servers is taken here."""

import os

from tests.servers import state
from tests.servers.places import ServerError, home, say
from tests.servers.providers.containers import ContainersProvider
from tests.servers.providers.debian import DebianProvider
from tests.servers.providers.provider import Provider
from tests.servers.state import Record

_PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (ContainersProvider(), DebianProvider())}


def choose() -> Provider:
    """Containers where an engine answers and gives us images, else Debian's packages.

    A choice once made here stays, so that servers do not move house when somebody starts an engine;
    LEADSTREAM_SERVERS_PROVIDER overrules it. Raises ServerError where neither way is open.
    """
    note = home() / "provider"
    wanted = os.environ.get("LEADSTREAM_SERVERS_PROVIDER") or (note.read_text().strip() if note.exists() else "")
    if wanted and wanted not in _PROVIDERS:
        raise ServerError(f"LEADSTREAM_SERVERS_PROVIDER is {wanted}; it may be {' or '.join(_PROVIDERS)}")
    if wanted:
        reason = _PROVIDERS[wanted].why_not()
        if reason is not None:
            raise ServerError(
                f"the test servers were to come from {wanted}, but {reason}; fix it or run stop and remove {note}"
            )
        return _PROVIDERS[wanted]
    reasons = []
    for provider in _PROVIDERS.values():
        reason = provider.why_not()
        if reason is None:
            say(f"servers come from: {provider.name}")
            note.write_text(provider.name + "\n")
            return provider
        reasons.append(reason)
    raise ServerError(f"no test servers can be had here: {'; '.join(reasons)}; start Docker, or use Debian as root")


def of(record: Record) -> Provider:
    """The provider that started the recorded server."""
    return _PROVIDERS[record.provider]


def reap() -> None:
    """Ends private servers whose owner died without doing it."""
    for record in state.every():
        if record.orphaned():
            say(f"{record.name}: left behind by process {record.owner.pid if record.owner else '?'}; removing it")
            of(record).discard(record)
