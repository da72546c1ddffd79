"""Our tables: what they are, how they come to be in PostgreSQL, and what changes them there."""
