"""What setup makes in PostgreSQL, and what is left when it goes."""
