"""MySQL's binlog → Kafka: read on, find whose each row is, number it in its lane, commit it with the checkpoint."""
