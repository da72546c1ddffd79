"""MySQL 9.7 from Debian's unstable suite, in a folder of its own that it runs in by chroot."""

from pathlib import Path

from tests.servers import settings
from tests.servers.engine import Engine, Site
from tests.servers.packages import debootstrap
from tests.servers.places import built, copied, home
from tests.servers.processes import run, run_or_raise


class MySQL(Engine):
    """Paths in its command line are seen from inside the chroot, where data lie in `/srv/NAME`."""

    kind = "mysql"

    def install(self) -> None:
        def install(folder: Path) -> None:
            debootstrap("sid", folder, ["mysql-server-core", "mysql-client-core"])
            run_or_raise(["chroot", str(folder), "useradd", "--system", "mysql"], "adding the account mysql")

        built(_chroot(), install)

    def folder(self, name: str) -> Path:
        return _chroot() / "srv" / name

    def initialise(self, site: Site) -> None:
        lasting = lasting_options(site.options)

        def initialise(part: Path) -> None:
            run_or_raise([*mysql_tool("chown"), "mysql:", _inside(part)], "MySQL's data folder")
            command = [*mysql_tool("mysqld"), "--no-defaults", "--initialize-insecure", "--user=mysql"]
            run_or_raise([*command, f"--datadir={_inside(part)}", *lasting], "mysqld --initialize-insecure")

        def copy(part: Path) -> None:
            copied(self.kind, lasting, part, initialise, leave=("auto.cnf",))  # which holds the server's UUID

        built(site.data, copy)

    def command(self, site: Site) -> list[str]:
        return [
            *mysql_tool("mysqld"),
            "--no-defaults",
            "--user=mysql",
            self.marker(site),
            "--bind-address=127.0.0.1",
            f"--port={site.port}",
            f"--socket={self._socket(site)}",
            f"--pid-file={_inside(site.data)}/mysql.pid",
            *settings.MYSQL,
            *site.options,
        ]

    def marker(self, site: Site) -> str:
        return f"--datadir={_inside(site.data)}"

    def answers(self, site: Site) -> bool:
        return run(self._client(site), stdin="SELECT 1;").returncode == 0

    def set_up(self, site: Site) -> None:
        account = ["--no-defaults", "-h127.0.0.1", f"-P{site.port}", f"-u{settings.ACCOUNT}"]
        command = [*mysql_tool("mysql"), *account, f"-p{settings.ACCOUNT}", settings.DATABASE]
        if run(command, stdin="SELECT 1;").returncode:
            run_or_raise(self._client(site), f"setting up {site.name}", stdin=settings.MYSQL_SETUP)

    def _client(self, site: Site) -> list[str]:
        return [*mysql_tool("mysql"), "--no-defaults", "-uroot", f"--socket={self._socket(site)}"]

    def _socket(self, site: Site) -> str:
        return f"{_inside(site.data)}/mysql.sock"


def mysql_tool(program: str) -> list[str]:
    """The command, without arguments, that runs a program of MySQL's; paths are those of the chroot."""
    return ["chroot", str(_chroot()), program]


def lasting_options(options: tuple[str, ...]) -> list[str]:
    """Those options that MySQL's or MariaDB's data are made with, and that cannot be changed later."""
    lasting = ("--lower-case-table-names", "--innodb-page-size", "--innodb-data-file-path")
    return [option for option in options if option.replace("_", "-").startswith(lasting)]


def _chroot() -> Path:
    return home() / "mysql"


def _inside(path: Path) -> str:
    return "/" + str(path.relative_to(_chroot()))
