"""The witness: a stretch of the binlog, read by another's decoder, held row by row against what lies in Kafka."""
