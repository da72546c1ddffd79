"""The streaming side: MySQL's binlog becomes queues and conversions in PostgreSQL.

The reader follows the binlog of one MySQL or MariaDB server and writes every change of `users`, `claims` and
`claim_requirements` into Kafka, numbered without gaps within each lane, in the same Kafka transaction as the
checkpoint it resumes from. Appliers merge a lane's partitions back into the binlog's order, judge each lead at
source-transaction boundaries, and write queue changes and conversions in one PostgreSQL transaction together with
the lane's next number. So a process may die at any moment, and every conversion is still recorded exactly once.
"""
