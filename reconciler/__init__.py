"""The safety net: sweeps, backfill, verify and pre-call checks, through the same ledger as the stream.

- `runs`: the work itself: each sweep, backfill, verify, aging, and the repair of what they find.
- `monitor`: what is looked at every few seconds: servers, Kafka, today's figures.
- `web`: HTTP: pre-call checks, runs, the status page.
- `replica` and `postgres`: what is asked of the two servers; `mysql_statements` has the statements for MySQL.
- `runner`, `schedule`, `serve`: one run with its sessions; what runs when; the process.
- `publisher`, `conversions`, `cloud_events`: conversions for others, as events and by cursor.
- `names`, `tokens`: what runs are called; who may ask for what.
"""
