"""The call centre's tables in PostgreSQL: as they are found, and as they are written."""
