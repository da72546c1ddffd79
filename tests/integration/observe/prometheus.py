"""A real Prometheus with the configuration of `deploy/prometheus`, its targets on this machine."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import yaml

from tests.servers import ServerError
from tests.servers.packages import install
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import until

CONFIG: Final = Path(__file__).parents[3] / "deploy" / "prometheus"


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; Debian's package is installed where they are missing."""
    if shutil.which(name) is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise ServerError(f"{name} is not on the PATH, and installing it needs root on Debian; install prometheus")
        install("prometheus")
    return shutil.which(name) or name


def _hurried(rules: Path, folder: Path) -> Path:
    """A copy of a file of rules in which no group takes longer than the others."""
    found = yaml.safe_load(rules.read_text())
    for group in found["groups"]:
        group.pop("interval", None)
    copy = folder / rules.name
    copy.write_text(yaml.safe_dump(found))
    return copy


class Prometheus:
    """Scrapes `targets` (job → ports) every second, and evaluates our rules as often."""

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[int]]) -> None:
        config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
        config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
        config["rule_files"] = [str(_hurried(CONFIG / name, folder)) for name in config["rule_files"]]
        for job in config["scrape_configs"]:
            del job["dns_sd_configs"]  # Docker's names; here everything is on one machine
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in targets[job["job_name"]]]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self._process = Process(
            "prometheus",
            program("prometheus"),
            [
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            os.environ,
            folder,
        )

    def query(self, expression: str) -> list[float]:
        """The values of all series of an expression now; those that are no number are left out."""
        return [
            number for found in self._ask("query", query=expression)["result"]
            if not math.isnan(number := float(found["value"][1]))
        ]  # fmt: skip

    def await_data(self, expression: str) -> None:
        """Waits until an expression has a value."""
        until(lambda: self.query(expression), f"{expression} had data")

    def labels(self, name: str) -> list[str]:
        """The values of a label."""
        answer = self._client.get(f"/api/v1/label/{name}/values")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with its health and last error."""
        groups: list[dict[str, Any]] = self._ask("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _ask(self, what: str, **parameters: str) -> dict[str, Any]:
        answer = self._client.get(f"/api/v1/{what}", params=parameters)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def _is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def __enter__(self) -> Self:
        self._process.start().until(self._is_ready, "Prometheus was ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._process.stop()
