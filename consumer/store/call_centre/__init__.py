"""The call centre's own tables: what we need of them, and what we write there."""
