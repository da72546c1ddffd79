"""Which version of a server is wanted, where that is not the one this machine has anyway.

`LEADSTREAM_MARIADB_VERSION`, `_POSTGRES_VERSION` and `_KAFKA_VERSION` name it as its makers do (`11.8`, `18`, `3.9`).
Servers of a named version live in a folder of their own (`places.home`): data of one version never meet another.
"""

import os

KINDS = ("mariadb", "kafka", "postgres")


def variable(kind: str) -> str:
    """The variable that names the version of a kind."""
    return f"LEADSTREAM_{kind.upper()}_VERSION"


def wanted(kind: str) -> str | None:
    """The version that is wanted of a kind; None where any will do."""
    return os.environ.get(variable(kind)) or None


def named() -> list[str]:
    """Every version that is wanted, as `kind-version`."""
    return [f"{kind}-{version}" for kind in KINDS if (version := wanted(kind)) is not None]
