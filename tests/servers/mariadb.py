"""MariaDB (10.11 on Debian 12) from the `core` packages, which bring the daemon without a system service."""

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers import settings
from tests.servers.engine import Engine, Site
from tests.servers.mysql import lasting_options
from tests.servers.packages import install
from tests.servers.places import built, data_home, locked, own, socket_folder
from tests.servers.processes import run, run_or_raise


def plugins() -> Path:
    """The plugins, which Debian packs with the system service; they are taken out of that package."""

    def unpack(part: Path) -> None:
        own(part, MariaDB.user)
        fetch = 'cd "$1" && apt-get -q download mariadb-server'
        run_or_raise(["sh", "-c", fetch, "sh", str(part)], "fetching MariaDB's plugins")
        (package,) = part.glob("mariadb-server_*.deb")
        run_or_raise(["dpkg-deb", "-x", str(package), str(part)], "unpacking MariaDB's plugins")
        package.unlink()

    with locked("mariadb-plugins"):
        return built(data_home() / "mariadb-plugins", unpack) / "usr/lib/mysql/plugin"


class MariaDB(Engine):
    """It runs under `nobody`: no package at hand makes it an account."""

    kind = "mariadb"
    user = "nobody"

    def install(self) -> None:
        install("mariadb-server-core", "mariadb-client-core")

    def folder(self, name: str) -> Path:
        return data_home() / name

    def initialise(self, site: Site) -> None:
        def initialise(part: Path) -> None:
            own(part, self.user)
            command = ["mariadb-install-db", "--no-defaults", f"--user={self.user}", f"--datadir={part}"]
            # --force: it need not look up this machine's name, which a bare one may not know
            account = ["--force", "--auth-root-authentication-method=normal", "--skip-test-db"]
            with TemporaryDirectory() as scratch:  # two at once take each other's temporary tables away otherwise
                own(Path(scratch), self.user)
                options = [f"--tmpdir={scratch}", *lasting_options(site.options)]
                run_or_raise([*command, *account, *options], "mariadb-install-db")

        own(site.folder, self.user)
        built(site.data, initialise)

    def command(self, site: Site) -> list[str]:
        return [
            "mariadbd",
            "--no-defaults",
            self.marker(site),
            "--bind-address=127.0.0.1",
            f"--port={site.port}",
            f"--socket={self._socket(site)}",
            f"--pid-file={site.data}/mysql.pid",
            *settings.MARIADB,
            *site.options,
        ]

    def marker(self, site: Site) -> str:
        return f"--datadir={site.data}"

    def answers(self, site: Site) -> bool:
        return run(self._client(site), stdin="SELECT 1;").returncode == 0

    def set_up(self, site: Site) -> None:
        account = ["--no-defaults", "-h127.0.0.1", f"-P{site.port}", f"-u{settings.ACCOUNT}"]
        command = ["mariadb", *account, f"-p{settings.ACCOUNT}", settings.DATABASE]
        if run(command, stdin="SELECT 1;").returncode:
            run_or_raise(self._client(site), f"setting up {site.name}", stdin=settings.MYSQL_SETUP)

    def _client(self, site: Site) -> list[str]:
        return ["mariadb", "--no-defaults", "-uroot", f"--socket={self._socket(site)}"]

    def _socket(self, site: Site) -> Path:
        folder = socket_folder(site.data)
        own(folder, self.user)
        return folder / "mysql.sock"
