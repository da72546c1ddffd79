"""The reconciler against real MySQL, MariaDB and PostgreSQL."""
