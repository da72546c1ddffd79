"""Settings of topics, changed as an administrator does."""

from __future__ import annotations

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.support.waiting import until

_ANSWER_SECONDS = 30.0


def alter_topic(bootstrap: str, topic: str, key: str, value: str) -> None:
    """Changes one setting, and waits until Kafka shows it: it grants a change before its brokers know of it."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    resource.add_incremental_config(ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET))
    admin.incremental_alter_configs([resource])[resource].result(_ANSWER_SECONDS)

    def is_shown() -> bool:
        asked = ConfigResource(ResourceType.TOPIC, topic)
        return bool(admin.describe_configs([asked])[asked].result(_ANSWER_SECONDS)[key].value == value)

    until(is_shown, f"{topic} had {key}={value}")
