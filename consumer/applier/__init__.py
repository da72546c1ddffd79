"""Kafka → PostgreSQL: the lanes of this process in the binlog's order, applied batch by batch, each change once."""
