"""Writing pod statuses: the latest one of each pod, once, and only when it says something new.

Workers hand in whole statuses; a few at a time are written, and of one pod never two at once, so a pod that moves on
while it waits its turn is written once. A pod whose end was reported is deleted for good here (grace 0, this very uid),
since that must come after its last status. Called by the workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs

from kube_core._kit.clock import Clock
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document, MutableDocument, name_of, namespace_of, uid_of
from kube_core.meta.status import Conflict, NotFound, StatusError
from kube_core.node.pods.status import OUR_CONDITIONS

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["StatusReports"]

_RETRY_SECONDS = 5.0
#: Pods that are written at the same time: what comes together does not wait for a server's answers one by one.
_AT_ONCE = 8
#: Fields that a status may lose again; the patch has to say so.
_OPTIONAL = ("reason", "message")


@attrs.define
class _Report:
    pod: Document
    status: Document
    delete: bool


class StatusReports:
    """`run` is the task; `submit` never waits."""

    def __init__(
        self,
        client: ApiClient,
        *,
        clock: Clock,
        log: FilteringBoundLogger,
        shown_as: Callable[[Document], Document | None] = lambda pod: pod,
        ended: Callable[[Document], Awaitable[bool]] | None = None,
    ) -> None:
        """`shown_as`: the pod in the API that shows this one (another one for static pods), if there is one. `ended` is
        told of pods that may go, and answers whether that is all there is to do.
        """
        self._client = client
        self._shown_as = shown_as
        self._ended = ended
        self._clock = clock
        self._log = log
        self._waiting: dict[str, _Report] = {}
        self._written: dict[str, Document] = {}
        #: What the server did not take, until it is tried again, or there is something newer to say.
        self._refused: dict[str, _Report] = {}
        #: Pods that are being written now: what is seen of them may be that already.
        self._writing: set[str] = set()
        self._wake = asyncio.Event()

    def submit(self, pod: Document, status: Document, *, delete: bool = False) -> None:
        """Report `status` for `pod`; `delete`: nothing of it is left on this node, so it may go."""
        uid = uid_of(pod)
        self._refused.pop(uid, None)
        if not delete and uid not in self._waiting and self._written.get(uid) == status:
            return
        self._waiting[uid] = _Report(pod, status, delete)
        self._wake.set()

    def contradicted(self, before: Document, after: Document) -> bool:
        """Whether somebody else has changed what was written of a pod; then its next report is written again.

        So does the node lifecycle controller while the node is not heard of. What only arrives late is not meant: the
        pod was as it was written, and is no longer.
        """
        written = self._written.get(uid_of(after))
        if written is None or uid_of(after) in self._writing:
            return False
        wanted = _conditions(written)
        if wanted != _conditions(before.get("status") or {}) or wanted == _conditions(after.get("status") or {}):
            return False
        del self._written[uid_of(after)]
        return True

    def forget(self, uid: str) -> None:
        """The pod is gone from the API."""
        self._waiting.pop(uid, None)
        self._refused.pop(uid, None)
        self._written.pop(uid, None)

    @property
    def idle(self) -> bool:
        return not self._waiting

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for uid in self._waiting:
                    if len(self._writing) >= _AT_ONCE:
                        break  # who is done wakes this again
                    if uid not in self._writing:
                        self._writing.add(uid)
                        group.create_task(self._write_out(uid), name=f"status of pod {uid}")

    async def _write_out(self, uid: str) -> None:
        """Write a pod until it has nothing new to say."""
        try:
            while (report := self._waiting.get(uid)) is not None:
                try:
                    await self._write(uid, report)
                except (NotFound, Conflict):
                    pass  # the pod is gone, or another one has its name
                except StatusError as error:
                    self._log.debug("pod status not written", pod=name_of(report.pod), error=error.message)
                    self._refuse(uid, report)
                self._done(uid, report)
        finally:
            self._writing.discard(uid)
            self._wake.set()

    async def _write(self, uid: str, report: _Report) -> None:
        pod = self._shown_as(report.pod)
        if pod is not None and self._written.get(uid) != report.status:
            name, namespace = name_of(pod), namespace_of(pod)
            status: MutableDocument = {field: None for field in _OPTIONAL if field not in report.status}
            patch = {"metadata": {"uid": uid_of(pod)}, "status": {**status, **report.status}}
            await self._client.patch(
                resources.PODS, name, patch, namespace, patch_type="strategic", subresource="status"
            )
            self._written[uid] = report.status
        if report.delete and not (self._ended is not None and await self._ended(report.pod)):
            name, namespace = name_of(report.pod), namespace_of(report.pod)
            await self._client.delete(resources.PODS, name, namespace, grace_period=0, uid=uid)

    def _done(self, uid: str, report: _Report) -> None:
        if self._waiting.get(uid) is report:
            del self._waiting[uid]

    def _refuse(self, uid: str, report: _Report) -> None:
        if self._waiting.get(uid) is report:
            self._refused[uid] = report
            self._clock.call_later(_RETRY_SECONDS, partial(self._again, uid, report))

    def _again(self, uid: str, report: _Report) -> None:
        if self._refused.get(uid) is report:
            self._waiting[uid] = self._refused.pop(uid)
            self._wake.set()


def _conditions(status: Document) -> dict[str, object]:
    """The node's own conditions of a pod, by type."""
    conditions: Sequence[Document] = status.get("conditions") or ()
    return {each["type"]: each.get("status") for each in conditions if each["type"] in OUR_CONDITIONS}
