"""Where a server's programs are, and how they and the paths they are given are named."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Software:
    """Programs of this machine; or of a folder that they run in by chroot; or of a folder that holds them alone."""

    chroot: Path | None = None
    folder: Path | None = None

    def command(self, program: str, user: str | None = None, *, inside: str = "bin") -> list[str]:
        """The command, without arguments, that runs a program; in a chroot, where there is one, as that user.

        `inside` is where a folder that holds the server alone has the program.
        """
        if self.chroot is not None:
            return ["chroot", *([f"--userspec={user}"] if user else []), str(self.chroot), program]
        return [program if self.folder is None else str(self.folder / inside / program)]

    def seen(self, path: Path) -> str:
        """A path as these programs name it."""
        return str(path) if self.chroot is None else f"/{path.relative_to(self.chroot)}"
