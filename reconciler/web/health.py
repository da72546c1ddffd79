"""The health page of smart discovery: when each sweep ran last, and what is found."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, Field

from reconciler.monitor.servers import Snapshot

KEYS: Final = {
    "newUsers": "new-users",
    "newRequirements": "new-requirements",
    "unsignedConversions": "unsigned-conversions",
    "requirementsConversions": "requirements-conversions",
}
"""The page's word for each sweep."""

When = Annotated[str | None, Field(description="When the last successful run started; null before the first one.")]


class LastRun(BaseModel):
    """The last successful run of each sweep, UTC."""

    newUsers: When  # noqa: N815 (the page's words, here and below)
    newRequirements: When  # noqa: N815
    unsignedConversions: When  # noqa: N815
    requirementsConversions: When  # noqa: N815


class Metrics(BaseModel):
    """What was found lately, by whichever way."""

    newUsersFound: int = Field(  # noqa: N815
        description="Users first seen in the last hour by the stream, and by the last run of each sweep."
    )
    conversionsDetected: int = Field(  # noqa: N815
        description="Conversions of the last hour by the stream, and of the last run of each sweep."
    )
    processingTimeMs: int = Field(description="How long the last runs took together.")  # noqa: N815


class SmartDiscovery(BaseModel):
    """The page."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "lastRun": {
                        "newUsers": "2024-01-20T14:00:00Z",
                        "newRequirements": "2024-01-20T14:15:00Z",
                        "unsignedConversions": "2024-01-20T14:30:00Z",
                        "requirementsConversions": "2024-01-20T14:45:00Z",
                    },
                    "metrics": {"newUsersFound": 87, "conversionsDetected": 23, "processingTimeMs": 4500},
                }
            ]
        }
    }

    lastRun: LastRun  # noqa: N815
    metrics: Metrics


def smart_discovery(seen: Snapshot) -> SmartDiscovery:
    """The page from what the monitor saw last."""
    runs = {key: seen.last_runs.get(name) for key, name in KEYS.items()}
    times = {key: run and f"{run.started_at:%Y-%m-%dT%H:%M:%SZ}" for key, run in runs.items()}
    ran = [run for run in runs.values() if run is not None]
    return SmartDiscovery(
        lastRun=LastRun(**times),
        metrics=Metrics(
            newUsersFound=seen.streamed_users + sum(run.first_seen for run in ran),
            conversionsDetected=seen.streamed_conversions + sum(run.conversions for run in ran),
            processingTimeMs=sum(run.milliseconds for run in ran),
        ),
    )
