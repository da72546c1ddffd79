"""Real MySQL, MariaDB, Kafka and PostgreSQL for tests, demo and CI, on any Debian or beside any Docker.

`ensure()` gives the shared ones, started if need be; its result starts private ones to be killed at will.
"""

from tests.servers.api import (
    PrivateServer,
    Servers,
    ensure,
    mariadb_binlog_command,
    mariadb_plugins,
    mysql_command,
    mysqlbinlog_command,
)
from tests.servers.kafka import kafka_classpath
from tests.servers.packages import maven_libs
from tests.servers.places import ServerError

__all__ = [
    "PrivateServer",
    "ServerError",
    "Servers",
    "ensure",
    "kafka_classpath",
    "mariadb_binlog_command",
    "mariadb_plugins",
    "maven_libs",
    "mysql_command",
    "mysqlbinlog_command",
]
