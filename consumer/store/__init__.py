"""PostgreSQL: leads in and out, in bulk, and the call centre's tables."""
