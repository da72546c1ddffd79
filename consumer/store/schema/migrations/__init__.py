"""Alembic's environment for the schema `leadstream`; run by `consumer.store.schema.setup`, shipped with it."""
