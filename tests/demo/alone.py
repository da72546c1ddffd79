"""The simulated company by itself, until it is stopped: `COMPANY_DATABASE_URL=mysql://… python -m tests.demo.alone`.

For compose's profile `demo`. The stand-in tables of `deploy/mysql` make way for the company's own; other tables are
left as they are, and refused.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Final

import pymysql

from tests.demo import company_schema as schema
from tests.demo.company import Address, Company, CompanyFailed, run

STAND_IN: Final = {"id", "email", "current_signature_file_id", "is_enabled", "created_at", "updated_at"}
"""The columns of `users` in deploy/mysql/05-company.sql."""
LOOK_SECONDS: Final = 5.0


def main() -> None:
    """Fills the tables, works, and says every few seconds what it has done."""
    address = Address.of(os.environ["COMPANY_DATABASE_URL"])
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    if not _prepare(address):
        sys.exit("the company has worked here before and remembers nothing; `docker compose down --volumes` first")
    rate, customers = float(os.environ.get("DEMO_RATE", "20")), int(os.environ.get("DEMO_CUSTOMERS", "500"))
    # Nobody compares afterwards, so that nothing is written down.
    with Company(os.environ["COMPANY_DATABASE_URL"], None, rate=rate) as company:
        company.load(customers)
        company.start()
        print(f"{company.customers:,} customers, {rate:g} transactions a second", flush=True)
        while not over.wait(LOOK_SECONDS):
            company.check()
            print(f"{company.customers:,} customers, {company.committed:,} transactions", flush=True)
        company.stop()


def _prepare(address: Address) -> bool:
    """Makes the company's tables; whether it did."""
    connection = address.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = 'users'",
            [address.database],
        )
        columns = {str(row[0]) for row in cursor.fetchall()}
        if columns and columns != STAND_IN:
            return False
        for table in ("claim_requirements", "claims", "users"):
            run(connection, f"DROP TABLE IF EXISTS {table}")
        for statement in schema.TABLES:
            run(connection, statement)
    return True


if __name__ == "__main__":
    try:
        main()
    except (CompanyFailed, pymysql.MySQLError) as error:
        sys.exit(f"the company stopped: {error}")
