"""An operator in kopf with what goes on by itself: a timer and a daemon, which keep their state in the status."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf


@kopf.on.login()
def login(**given: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**given)


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.persistence.progress_storage = kopf.StatusProgressStorage(field="status.progress")
    settings.persistence.diffbase_storage = kopf.StatusDiffBaseStorage(field="status.last-handled")


@kopf.timer("kopfclocks", interval=0.2)
def tick(status: kopf.Status, patch: kopf.Patch, **_: Any) -> None:
    patch.status["ticks"] = status.get("ticks", 0) + 1


@kopf.daemon("kopfclocks", cancellation_timeout=5)
async def watch_over(patch: kopf.Patch, name: str, stopped: kopf.DaemonStopped, retry: int, **_: Any) -> Any:
    if not retry:
        patch.status["daemon"] = "began"
        raise kopf.TemporaryError("the status is to be seen", delay=0.1)
    while not stopped:  # noqa: ASYNC110 (as kopf's documentation has it)
        await asyncio.sleep(0.05)


@kopf.on.resume("kopfclocks")
def resume(patch: kopf.Patch, status: kopf.Status, **_: Any) -> None:
    patch.status["resumed"] = True


@kopf.on.event("configmaps", labels={"clock": kopf.PRESENT})
async def note(body: kopf.Body, event: kopf.RawEvent, memo: kopf.Memo, logger: kopf.Logger, **_: Any) -> None:
    memo.seen = memo.get("seen", 0) + 1
    kopf.info(body, reason="Seen", message=f"event {event['type']} {memo.seen}")


@kopf.index("configmaps", labels={"clock": kopf.PRESENT})
def by_clock(labels: kopf.Labels, name: str, **_: Any) -> Any:
    return {labels["clock"]: name}


@kopf.on.update("kopfclocks", field="spec.look")
def look(name: str, by_clock: kopf.Index[str, str], **_: Any) -> Any:
    return {"found": sorted(by_clock.get(name, []))}
