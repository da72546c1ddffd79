"""Kafka's own command-line tools under their usual names, for tests that run the commands which we print."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.servers.kafka import kafka_classpath
from tests.servers.packages import java

TOOLS = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
}


def install(folder: Path) -> Path:
    """Puts the tools into a folder, which belongs on the PATH; `KAFKA_COMMAND_CONFIG` names a client's properties."""
    options = "-Xmx128m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    for name, main in TOOLS.items():
        command = f"{shlex.quote(java())} {options} -cp {shlex.quote(f'{kafka_classpath()}/*')} {main}"
        script = folder / name
        script.write_text(
            f'#!/bin/sh\nexec {command} ${{KAFKA_COMMAND_CONFIG:+--command-config "$KAFKA_COMMAND_CONFIG"}} "$@"\n'
        )
        script.chmod(0o755)
    return folder
