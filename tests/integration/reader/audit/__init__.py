"""`consumer audit` against real servers: a stretch of the binlog held against Kafka by another decoder."""
