"""The bytecode of what a start needs, and no more: Python writes it as every module of both packages is imported."""

import importlib
import pkgutil

import consumer
import reconciler

for package in (consumer, reconciler):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
for module in ("psycopg_binary", "sqlalchemy.dialects.postgresql.psycopg", "uvicorn.lifespan.on", "rich.table"):
    importlib.import_module(module)
