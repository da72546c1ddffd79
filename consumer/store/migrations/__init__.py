"""Alembic's environment for the schema `leadstream`; run by `consumer.store.setup`, shipped inside the package."""
