"""PostgreSQL from this Debian, as a cluster of our own beside whatever Debian keeps; another version from Debian's
unstable suite, in a chroot."""

import signal
from pathlib import Path
from subprocess import CompletedProcess

from tests.servers import settings, versions
from tests.servers.engine import Engine, Site
from tests.servers.packages import debootstrap, in_this_release, install
from tests.servers.places import ServerError, built, data_home, home, own, socket_folder
from tests.servers.processes import run, run_or_raise
from tests.servers.software import Software

_PROGRAMS = Path("/usr/lib/postgresql")


def software() -> Software:
    """Where the programs of the wanted version are."""
    version = versions.wanted("postgres")
    here = version is None or in_this_release(f"postgresql-{version}")
    return Software(chroot=None if here else home() / "postgres")


class PostgreSQL(Engine):
    """It refuses root, so it runs under Debian's account `postgres`; in a chroot under `nobody`, which is in each."""

    kind = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends sessions instead of waiting for them

    @property
    def user(self) -> str:  # type: ignore[override]
        return "postgres" if software().chroot is None else "nobody"

    @property
    def started_by(self) -> str | None:
        return self.user if software().chroot is None else None  # chroot(8) changes the account

    def install(self) -> None:
        chroot, version = software().chroot, versions.wanted("postgres")
        if chroot is None:
            install(f"postgresql-{version}" if version else "postgresql", "postgresql-client")
        else:
            built(chroot, lambda part: debootstrap("sid", part, [f"postgresql-{version}"], proc=True))

    def folder(self, name: str) -> Path:
        chroot = software().chroot
        return data_home() / name if chroot is None else chroot / "srv" / name

    def initialise(self, site: Site) -> None:
        def initialise(part: Path) -> None:
            own(part, self.user)
            command = [*self._program("initdb"), "-D", software().seen(part), "--username=postgres", "--encoding=UTF8"]
            access = ["--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256"]
            run_or_raise([*command, *access], "initdb", user=self.started_by)

        own(site.folder, self.user)
        built(site.data, initialise)

    def command(self, site: Site) -> list[str]:
        where = ("listen_addresses=127.0.0.1", f"port={site.port}", f"unix_socket_directories={self._sockets(site)}")
        options = [*where, *settings.POSTGRES, *site.options]
        return [
            *self._program("postgres"),
            "-D",
            self.marker(site),
            *(word for option in options for word in ("-c", option)),
        ]

    def marker(self, site: Site) -> str:
        return software().seen(site.data)

    def answers(self, site: Site) -> bool:
        return self._psql(site, "SELECT 1;").returncode == 0

    def set_up(self, site: Site) -> None:
        result = self._psql(site, settings.POSTGRES_SETUP)
        if result.returncode:
            raise ServerError(f"{site.name} refuses its account: {result.stderr.strip()}")

    def _psql(self, site: Site, sql: str) -> CompletedProcess[str]:
        where = ["-h", self._sockets(site), "-p", str(site.port), "-U", "postgres", "-d", "postgres"]
        command = [*self._program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", *where]
        return run(command, user=self.started_by, stdin=sql)

    def _sockets(self, site: Site) -> str:
        folder = site.folder / "sockets"
        if software().chroot is None:
            folder = socket_folder(folder)
        own(folder, self.user)
        return software().seen(folder)

    def _program(self, name: str) -> list[str]:
        """A program of the wanted version, else of the newest installed; Debian keeps versions side by side."""
        version = versions.wanted("postgres") or "*"
        root = software().chroot or Path("/")
        found = list((root / _PROGRAMS.relative_to("/")).glob(f"{version}/bin/{name}"))
        if not found:
            raise ServerError(f"PostgreSQL's {name} is not below {_PROGRAMS}; apt-get install postgresql")
        newest = max(found, key=lambda path: float(path.parts[-3]))
        return software().command(software().seen(newest), self.user)
