"""What the servers are told, whoever runs them: options, accounts, addresses."""

ACCOUNT = "leadstream"  # user and password alike: test servers on loopback
DATABASE = "leadstream_dev"

_OF_BOTH = (
    "--log-bin=binlog",
    "--binlog-row-metadata=FULL",
    "--sync-binlog=0",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=512M",
    "--max-connections=500",
    "--max-allowed-packet=64M",
    "--local-infile=ON",
    "--default-time-zone=+00:00",
    "--character-set-server=utf8mb4",
    "--skip-name-resolve",
)
MYSQL = (
    *_OF_BOTH,
    "--server-id=1",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--secure-file-priv=NULL",
    "--mysqlx=OFF",
)
MARIADB = (*_OF_BOTH, "--server-id=11", "--binlog-format=ROW")

# Kept out of the binlog: a test's positions should not depend on how the server was set up.
MYSQL_SETUP = f"""
SET SESSION sql_log_bin = 0;
CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{ACCOUNT}';
GRANT ALL PRIVILEGES ON *.* TO '{ACCOUNT}'@'%' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;
"""

POSTGRES = ("max_connections=300", "shared_buffers=256MB", "max_wal_size=2GB")
POSTGRES_SETUP = f"""
SELECT 'CREATE ROLE {ACCOUNT} LOGIN SUPERUSER CREATEDB CREATEROLE REPLICATION PASSWORD ''{ACCOUNT}'''
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ACCOUNT}') \\gexec
SELECT 'CREATE DATABASE {DATABASE} OWNER {ACCOUNT}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
"""

KAFKA_CLUSTER = "bGVhZHN0cmVhbS10ZXN0cw"  # the cluster's id: any 16 bytes, in base64


def kafka(node: int, voters: str, brokers: int, private: bool) -> dict[str, str]:
    """The properties of broker and controller `node` of a KRaft cluster, but for where it listens.

    `voters` are the controllers as `node@host:port` with commas between. A private cluster notices a
    killed broker sooner; the shared one has Kafka's own patience, for it lives through benchmarks.
    """
    replicas = str(min(3, brokers))
    in_sync = str(max(1, min(3, brokers) - 1))
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "4",
        "transaction.max.timeout.ms": "900000",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
    }
    if private:
        properties |= {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    return properties


def url(kind: str, port: int) -> str:
    """What a client of that kind of server is given to connect; Kafka's is a bootstrap address."""
    if kind == "kafka":
        return f"127.0.0.1:{port}"
    scheme = "postgresql" if kind == "postgres" else kind
    return f"{scheme}://{ACCOUNT}:{ACCOUNT}@127.0.0.1:{port}/{DATABASE}"
