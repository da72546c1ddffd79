"""The simulated company by itself, until it is stopped: `COMPANY_DATABASE_URL=mysql://… python -m tests.demo.alone`.

For compose's profile `demo`. It works in the stand-in tables of `deploy/mysql`; others, and those of a company that has
worked, are refused.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Final

import pymysql

from tests.demo.company import Address, Company, CompanyFailed, run
from tests.demo.shape import ACTIVITY_LOG

LOOK_SECONDS: Final = 5.0
_MOST_ROWS: Final = 100
"""Customers that stand-in tables may have been given by hand; more are somebody's."""


def main() -> None:
    """Fills the tables, works, and says every few seconds what it has done."""
    address = Address.of(os.environ["COMPANY_DATABASE_URL"])
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    first_user = _prepare(address)
    rate, customers = float(os.environ.get("DEMO_RATE", "20")), int(os.environ.get("DEMO_CUSTOMERS", "500"))
    # Nobody compares afterwards, so that nothing is written down.
    with Company(os.environ["COMPANY_DATABASE_URL"], None, rate=rate) as company:
        for worker in company.workers:
            worker.caseload.first_user = first_user
        company.load(customers)
        company.start()
        print(f"{company.customers:,} customers, {rate:g} transactions a second", flush=True)
        while not over.wait(LOOK_SECONDS):
            company.check()
            print(f"{company.customers:,} customers, {company.committed:,} transactions", flush=True)
        company.stop()


def _prepare(address: Address) -> int:
    """The highest id of a customer there is already. Ends with a sentence where the tables are not stand-ins."""
    connection = address.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES LIKE 'activity_log'")
        if cursor.fetchone() is not None:
            sys.exit("the company has worked here before and remembers nothing; `docker compose down --volumes` first")
        cursor.execute("SELECT COUNT(*), COALESCE(MAX(id), 0) FROM users")
        ((rows, highest),) = cursor.fetchall()
        if rows > _MOST_ROWS:
            sys.exit(f"{address.database}.users holds {rows:,} customers of somebody else's; use an empty database")
        run(connection, ACTIVITY_LOG)
    return int(highest)


if __name__ == "__main__":
    try:
        main()
    except (CompanyFailed, pymysql.MySQLError) as error:
        sys.exit(f"the company stopped: {error}")
