"""PostgreSQL from this Debian, as a cluster of our own beside whatever Debian keeps."""

import signal
from pathlib import Path
from subprocess import CompletedProcess

from tests.servers import settings
from tests.servers.engine import Engine, Site
from tests.servers.packages import install
from tests.servers.places import ServerError, built, data_home, own, socket_folder
from tests.servers.processes import run, run_or_raise


class PostgreSQL(Engine):
    """It refuses root, so it runs under Debian's account `postgres`."""

    kind = "postgres"
    user = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends sessions instead of waiting for them

    def install(self) -> None:
        install("postgresql", "postgresql-client")

    def folder(self, name: str) -> Path:
        return data_home() / name

    def initialise(self, site: Site) -> None:
        def initialise(part: Path) -> None:
            own(part, self.user)
            command = [_program("initdb"), "-D", str(part), "--username=postgres", "--encoding=UTF8"]
            access = ["--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256"]
            run_or_raise([*command, *access], "initdb", user=self.user)

        own(site.folder, self.user)
        built(site.data, initialise)

    def command(self, site: Site) -> list[str]:
        where = ("listen_addresses=127.0.0.1", f"port={site.port}", f"unix_socket_directories={_sockets(site)}")
        options = [*where, *settings.POSTGRES, *site.options]
        return [
            _program("postgres"),
            "-D",
            self.marker(site),
            *(word for option in options for word in ("-c", option)),
        ]

    def marker(self, site: Site) -> str:
        return str(site.data)

    def answers(self, site: Site) -> bool:
        return self._psql(site, "SELECT 1;").returncode == 0

    def set_up(self, site: Site) -> None:
        result = self._psql(site, settings.POSTGRES_SETUP)
        if result.returncode:
            raise ServerError(f"{site.name} refuses its account: {result.stderr.strip()}")

    def _psql(self, site: Site, sql: str) -> CompletedProcess[str]:
        where = ["-h", str(_sockets(site)), "-p", str(site.port), "-U", "postgres", "-d", "postgres"]
        command = [_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", *where]
        return run(command, user=self.user, stdin=sql)


def _sockets(site: Site) -> Path:
    folder = socket_folder(site.folder / "sockets")
    own(folder, PostgreSQL.user)
    return folder


def _program(name: str) -> str:
    """A program of the newest PostgreSQL installed; Debian keeps versions side by side."""
    found = list(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        raise ServerError(f"PostgreSQL's {name} is not below /usr/lib/postgresql; apt-get install postgresql")
    return str(max(found, key=lambda path: float(path.parts[-3])))
