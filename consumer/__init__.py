"""The streaming side: queues and conversions in PostgreSQL out of MySQL's binlog.

The reader follows the binlog of one MySQL or MariaDB server and writes every change of `users`, `claims` and
`claim_requirements` into Kafka, numbered without gaps within each lane, in the same Kafka transaction as the
checkpoint it resumes from. Appliers merge a lane's partitions back into the binlog's order, judge each lead at
source-transaction boundaries, and write queue changes and conversions in one PostgreSQL transaction together with
the lane's next number. So a process may die at any moment, and every conversion is still recorded exactly once.

The rooms, in the order of a change's way:

- `binlog`: MySQL's bytes into row changes.
- `reader`: binlog to Kafka: whose each row is, its lane and its number.
- `stream`: what lies in Kafka: topics, messages, checkpoints.
- `applier`: Kafka to PostgreSQL: lanes in order, in batches.
- `leads`: what a change means for a customer. Pure; imports nothing of ours.
- `store`: PostgreSQL: our schema, dead letters too, and in `call_centre` their tables.

Beside them `mysql` (the company's server asked by query: sessions and their errors, columns, live reads, collations),
`audit` (a stretch of the binlog, by another's decoder, held against Kafka), `commands` (one command a module), and
`doctor` (whether the servers are as we need them). At the top is what every process has.
"""
