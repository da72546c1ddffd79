"""All settings by concern, from their declarations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from consumer import settings as stream
from reconciler import settings as net

ABOUT: Final = """# Settings

Made by `make reference` from the declarations in the code; not edited by hand. `consumer settings` shows those
of reader and appliers, `reconciler settings` those of the reconciler: as they apply where they are run, and where
each is from.

Each may be a variable of the environment, the content of the file that `<NAME>_FILE` names, or a line of `.env`; the
first of these counts. `<NAME>_FILE` itself may be a variable of the environment or a line of `.env`.
`HEALTH_SECONDS` is a variable only: the age of the last batch (60 s) from which `python -m consumer.health`, the
containers' check, says unhealthy. So is `NO_COLOR`: with it, nothing is coloured on a terminal. Kubernetes sets
variables of its own for a service that is named kafka, so our pods have `enableServiceLinks: false`.
"""
CONCERNS: Final[dict[str, type[BaseSettings]]] = {
    "The company's MySQL or MariaDB": stream.ReplicaSettings,
    "The call centre's PostgreSQL": stream.DatabaseSettings,
    "Kafka": stream.KafkaSettings,
    "The reader": stream.ReaderSettings,
    "The appliers": stream.ApplierSettings,
    "What runs": stream.DiscoverySettings,
    "Sweeps and other runs": net.SweepSettings,
    "The daily aging": net.AgingSettings,
    "The HTTP API, the page and the schedule": net.ServeSettings,
    "Logs and metrics": stream.RunSettings,
}
IN_WORDS: Final = {
    "REPLICA_SERVER_ID": "derived",
    "TOPIC_REPLICATION_FACTOR": "the broker's",
    "CONSUMER_GROUP": "`{prefix}.appliers`",
    "SWEEPS": "all four",
    "METRICS_PORT": "0 (off)",
}
"""Defaults that are written in words."""
BOUNDS: Final = {
    "minimum": ("at least", ""),
    "exclusiveMinimum": ("above", ""),
    "maximum": ("at most", ""),
    "exclusiveMaximum": ("below", ""),
    "minLength": ("at least", " characters"),
}
"""Names of JSON Schema, and how they are written."""
AFTER: Final = {
    "Kafka": "Every other variable `KAFKA_X_Y` becomes librdkafka's property `x.y`: `KAFKA_SASL_PASSWORD_FILE`, say, "
    "names the file with `sasl.password`. What the order and exactly-once rest on cannot be changed so."
}


def page() -> str:
    """The page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield ABOUT
    for concern, kind in CONCERNS.items():
        yield from (f"## {concern}", "", "| name | default | what it is |", "|---|---|---|")
        schemas = kind.model_json_schema()["properties"]
        for name, field in kind.model_fields.items():
            what = " ".join((field.description or "").split()).replace("|", "\\|")
            yield f"| `{name.upper()}` | {default(name.upper(), field)} | {what}{bounds(schemas[name])} |"
        yield ""
        if concern in AFTER:
            yield from (AFTER[concern], "")


def bounds(schema: Mapping[str, Any]) -> str:
    """What a number has to lie between, how long a text has to be or which words there are; empty for any."""
    if "enum" in schema:
        return f" One of {', '.join(f'`{word}`' for word in schema['enum'])}."
    said = [f"{word} {schema[name]:,.10g}{unit}" for name, (word, unit) in BOUNDS.items() if name in schema]
    return f" {', '.join(said).capitalize()}." if said else ""


def default(name: str, field: FieldInfo) -> str:
    """A setting's default as the page writes it; a dash where there is none."""
    value = field.default
    if name in IN_WORDS:
        return IN_WORDS[name]
    if value in (PydanticUndefined, None, frozenset(), ""):
        return "\N{EN DASH}"
    if isinstance(value, frozenset):
        return f"`{','.join(sorted(value))}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
