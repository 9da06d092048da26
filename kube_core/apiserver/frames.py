"""Events of a watch, as its client has them: lines of JSON, or frames of protobuf with their length before them.

What every watcher of a form sees alike is made once for all of them, and kept with the change (`Change.event`,
`Change.framed`); views (tables, metadata) and what is shown otherwise than it is stored are made for each watch.

Upstream's behaviour: "Efficient detection of changes" and "Protobuf encoding" in its documentation of the API. YAML has
no form for a stream; who asks for it gets lines of JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from kube_core._kit.clock import Clock
from kube_core._kit.metrics import Cell
from kube_core.abc.transport import Request
from kube_core.apiserver import negotiation, responses
from kube_core.bus.changes import Change, Stored
from kube_core.meta.documents import Document
from kube_core.meta.status import StatusError
from kube_core.registry.generic import Registry

__all__ = ["Frames"]


class Frames:
    """Makes the events of one watch. Raises `NotAcceptable` when made for a form that is not there."""

    def __init__(self, request: Request, registry: Registry, clock: Clock, made: Cell) -> None:
        """`made` counts the events."""
        form = negotiation.form_of(request, binary=not registry.is_custom)
        self._registry = registry
        self._made = made
        self._is_binary = form.media_type == negotiation.PROTOBUF
        self.content_type = f"{negotiation.PROTOBUF};stream=watch" if self._is_binary else negotiation.JSON
        self._view: Callable[[Stored], Document] | None = None
        if form.view == "Table":
            self._view = _tables(request, registry, clock)
        elif form.view:
            self._view = lambda stored: responses.partial_metadata(stored.document)

    def change(self, kind: str, change: Change, shown: Stored | None = None) -> bytes:
        """What a change is to this watch. `shown`: the object as it is shown, where that is known."""
        registry = self._registry
        if registry.converts or self._view is not None:
            stored = change.shown(kind)
            shown = registry.shown(stored) if shown is None else shown
            # What is shown as it is stored is encoded once for all watchers.
            if shown is not stored or self._view is not None:
                return self.event(kind, shown)
        self._made.value += 1
        return change.framed(kind, self._plain) if self._is_binary else change.event(kind)

    def event(self, kind: str, stored: Stored) -> bytes:
        """An object as it is shown."""
        self._made.value += 1
        return self._plain(kind, stored) if self._view is None else self._event(kind, self._view(stored))

    def _plain(self, kind: str, stored: Stored) -> bytes:
        if self._is_binary:
            return _frame(kind, responses.binary(self._registry, stored))
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), stored.wire)

    def error(self, error: StatusError) -> bytes:
        return self._event("ERROR", error.to_document())

    def _event(self, kind: str, document: Any) -> bytes:
        if self._is_binary:
            return _frame(kind, negotiation.encode(document, negotiation.Form(negotiation.PROTOBUF)))
        return orjson.dumps({"type": kind, "object": document}) + b"\n"


def _frame(kind: str, body: bytes) -> bytes:
    from kube_core.api import protobuf  # its tables take a while to load

    return protobuf.frame(kind, body)


def _tables(request: Request, registry: Registry, clock: Clock) -> Callable[[Stored], Document]:
    """Tables, of which the first only has columns."""
    headed = False

    def table(stored: Stored) -> Document:
        nonlocal headed
        made = responses.table(request, registry, [stored], {}, now=clock.now())
        if headed:
            made["columnDefinitions"] = None
        headed = True
        return made

    return table
