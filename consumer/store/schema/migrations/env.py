"""Migrations on the connection and in the transaction of `consumer.store.schema.setup`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], version_table_schema="leadstream", transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
