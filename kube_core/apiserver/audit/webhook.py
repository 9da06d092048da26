"""The audit log as a webhook: events are gathered, and sent as an EventList (upstream's batch mode).

A batch goes when it is full, or when its first event has waited long enough. What the webhook does not take after a
few tries is lost, and so are events that come while the buffer is full: a webhook that is slow must never keep the
server from answering. Losses are logged, once for each stretch of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import orjson

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.apiserver.audit.auditor import Backend
from kube_core.auth.webhook_client import HttpsClient, WebhookError

__all__ = ["AuditWebhook"]

_log = get_logger("kube_core.apiserver.audit")
#: Upstream's defaults of the batching options.
_BUFFER: Final = 10_000
_BATCH: Final = 400
_LONGEST_WAIT: Final = 30.0
_TRIES: Final = 4


class AuditWebhook(Backend):
    """Sends events in batches."""

    def __init__(self, client: HttpsClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._events: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._over = False
        self._lost = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._send_all(), name="audit webhook")

    async def put(self, event: bytes) -> None:
        if len(self._events) >= _BUFFER:
            if not self._lost:
                _log.warning("audit events are lost: the webhook is too slow", url=self._client.server.url)
            self._lost += 1
            return
        self._events.append(event)
        if len(self._events) == 1 or len(self._events) >= _BATCH:
            self._wake.set()

    async def stop(self) -> None:
        self._over = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None
        await self._client.close()

    async def _send_all(self) -> None:
        while True:
            while not self._events and not self._over:
                await self._woken()
            if not self._events:
                return
            await self._gather()
            await self._send([self._events.popleft() for _ in range(min(_BATCH, len(self._events)))])
            self._lost = 0

    async def _gather(self) -> None:
        """Return when a batch is full, or has waited long enough."""
        try:
            async with self._clock.timeout(_LONGEST_WAIT):
                while len(self._events) < _BATCH and not self._over:
                    await self._woken()
        except TimeoutError:
            pass

    async def _woken(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    async def _send(self, batch: list[bytes]) -> None:
        items = [orjson.loads(event) for event in batch]
        try:
            # At the end there is no time left for further tries.
            await self._client.post(
                {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items},
                tries=1 if self._over else _TRIES,
            )
        except WebhookError as error:
            _log.error("audit events are lost", events=len(batch), error=str(error))
