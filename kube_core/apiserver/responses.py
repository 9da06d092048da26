"""From stored objects to responses: as they are, as a Table, as metadata only; singly or in lists.

The common case splices bytes that are made once for each revision; a long list is sent in pieces, so that its size
costs no memory, and what takes long to make (tables, YAML) is made on a thread. A caller in the same process
(`request.user` is set) gets frozen documents instead, and nothing is encoded at all.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from kube_core._kit.clock import Clock, turn
from kube_core.abc.transport import Request, Response
from kube_core.apiserver import negotiation
from kube_core.apiserver.listing import Listed
from kube_core.apiserver.negotiation import Form
from kube_core.bus.changes import Stored
from kube_core.meta.documents import Document
from kube_core.meta.status import BadRequest, NotAcceptable, StatusError
from kube_core.registry.generic import Registry

if TYPE_CHECKING:
    from kube_core.registry.tables import IncludeObject

__all__ = [
    "binary",
    "failure",
    "listed",
    "listing",
    "messages",
    "partial_metadata",
    "scale",
    "single",
    "success",
    "table",
]

#: How many objects are put in protobuf before others have their turn; each takes up to a quarter of a millisecond.
_AT_ONCE = 20
#: Items of a list beyond which it is sent in pieces, and of each piece; an item takes a microsecond.
_LONG, _PIECE = 2000, 500
#: Items of a list beyond which a form that takes long is made on a thread; an item of it takes some 50 µs.
_SLOW = 50
_INCLUDES = ("", "Metadata", "Object", "None")


def single(request: Request, registry: Registry, stored: Stored, *, status: int = 200, now: float) -> Response:
    """One object in the form that the client accepts."""
    form = negotiation.form_of(request, binary=not registry.is_custom)
    if request.user is not None and not form.view:
        return Response(status, document=stored.document if stored.revision else _unversioned(stored))
    if form.view == "PartialObjectMetadataList":
        raise NotAcceptable(
            f"you requested {form.view}, but the requested object is not a list ({_internal(registry)})", details={}
        )
    if form.view == "Table":
        return _view(request, table(request, registry, [stored], {}, now=now), form, status)
    if form.view:
        if request.user is None and form.media_type == negotiation.JSON and not form.pretty and stored.revision:
            return Response(status, body=stored.partial + b"\n")
        return _view(request, partial_metadata(stored.document), form, status)
    if form.media_type == negotiation.JSON and not form.pretty and stored.revision:
        return Response(status, body=stored.wire + b"\n")
    if form.media_type == negotiation.PROTOBUF and stored.revision:
        return Response(status, content_type=form.media_type, body=binary(registry, stored))
    return encoded(stored.document if stored.revision else _unversioned(stored), form, status)


async def listed(request: Request, registry: Registry, found: Listed, clock: Clock) -> Response:
    """A list in the form that the client accepts, made so that others have their turns, however long it is."""
    now = clock.now()
    packed = await messages(request, registry, found.items)
    if packed is None and request.user is None and len(found.items) > _SLOW:
        form = negotiation.form_of(request, binary=not registry.is_custom)
        quick = form.media_type == negotiation.JSON and not form.pretty and form.view != "Table"
        if not quick:
            apart = attrs.evolve(found, items=[stored.apart() for stored in found.items])
            with clock.hold("a list is being written"):
                return await asyncio.to_thread(listing, request, registry, apart, now=now)
    return listing(request, registry, found, now=now, packed=packed)


async def messages(request: Request, registry: Registry, items: Sequence[Stored]) -> Sequence[bytes] | None:
    """The items of a long list in protobuf, for who accepts that: made with pauses, so that others have their turns."""
    if len(items) <= _AT_ONCE or request.user is not None or registry.is_custom:
        return None
    form = negotiation.form_of(request)
    if form.media_type != negotiation.PROTOBUF or form.view:
        return None
    made = []
    # What the cache lists may change at the next pause.
    for number, stored in enumerate(tuple(items), start=1):
        made.append(_message(registry, stored))
        if not number % _AT_ONCE:
            await turn()
    return made


def listing(
    request: Request, registry: Registry, listed: Listed, *, now: float, packed: Sequence[bytes] | None = None
) -> Response:
    """A list in the form that the client accepts; its items are as the registry shows them."""
    items = listed.items
    metadata: dict[str, Any] = {"resourceVersion": str(listed.revision)}
    if registry.is_custom:
        metadata["continue"] = ""
    if listed.continue_token:
        metadata["continue"] = listed.continue_token
        if listed.remaining:
            metadata["remainingItemCount"] = listed.remaining
    resource = registry.type
    kind = registry.descriptor.list_kind or f"{resource.kind}List"
    form = negotiation.form_of(request, binary=not registry.is_custom)
    if request.user is not None and not form.view:
        documents = [stored.document for stored in items]
        return Response(
            document={"kind": kind, "apiVersion": resource.api_version, "metadata": metadata, "items": documents}
        )
    if form.view == "PartialObjectMetadata":
        raise NotAcceptable(
            f"you requested {form.view}, but the requested object is a list ({_internal(registry)}List)", details={}
        )
    if form.view == "Table":
        return _view(request, table(request, registry, items, metadata, now=now), form)
    plain = request.user is None and form.media_type == negotiation.JSON and not form.pretty
    if form.view:
        partial = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        if plain:
            return _spliced(partial, items, lambda stored: stored.partial)
        parts = [partial_metadata(stored.document) for stored in items]
        return _view(request, {**partial, "items": parts}, form)
    if plain:
        whole = {"kind": kind, "apiVersion": resource.api_version, "metadata": metadata}
        return _spliced(whole, items, lambda stored: stored.list_item(typed=registry.is_custom))
    if form.media_type == negotiation.PROTOBUF:
        from kube_core.api import protobuf

        made = packed if packed is not None else [_message(registry, stored) for stored in items]
        body = protobuf.message_list(resource.api_version, kind, metadata, made)
        return Response(content_type=form.media_type, body=body)
    documents = [_item(stored.document, typed=registry.is_custom) for stored in items]
    return encoded({"kind": kind, "apiVersion": resource.api_version, "metadata": metadata, "items": documents}, form)


def _spliced(head: Document, items: Sequence[Stored], item: Callable[[Stored], bytes]) -> Response:
    """A list in JSON from bytes that are there; a long one in pieces."""
    before = negotiation.encode(head, Form())[:-1] + b',"items":['
    if len(items) <= _LONG:
        return Response(body=before + b",".join(map(item, items)) + b"]}\n")
    return Response(stream=_pieces(before, items, item), finite=True)


async def _pieces(before: bytes, items: Sequence[Stored], item: Callable[[Stored], bytes]) -> AsyncIterator[bytes]:
    yield before
    for start in range(0, len(items), _PIECE):
        piece = b",".join(map(item, items[start : start + _PIECE]))
        yield b"," + piece if start else piece
        # A client that reads fast is not a reason to keep all others waiting.
        await turn()
    yield b"]}\n"


def scale(request: Request, document: Document, *, now: float) -> Response:
    """The Scale of a workload, which is no stored object, in the form that the client accepts."""
    form = negotiation.accept(request.headers.get("accept", ""))
    if form.view == "Table":
        from kube_core.registry.tables import scale_table

        return _view(request, scale_table(document, now=now, include_object=_include(request)), form)
    return success(request, document)


def table(
    request: Request, registry: Registry, items: Sequence[Stored], metadata: Document, *, now: float
) -> dict[str, Any]:
    """`meta.k8s.io/v1` Table of objects. Raises `BadRequest` for an unknown includeObject."""
    from kube_core.registry.tables import make_table

    include = _include(request)
    documents = [stored.document for stored in items]
    if not metadata and documents:
        metadata = {"resourceVersion": documents[0]["metadata"]["resourceVersion"]}
    made: dict[str, Any] = make_table(
        registry.descriptor,
        documents,
        now=now,
        include_object=include,
        list_metadata=metadata,
    )
    return made


def _include(request: Request) -> IncludeObject:
    include = request.parameter("includeObject")
    if include not in _INCLUDES:
        raise BadRequest(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{include}": must be '
            "'Metadata', 'Object', 'None', or empty"
        )
    return include or "Metadata"  # type: ignore[return-value]  # one of _INCLUDES, as checked above


def binary(registry: Registry, stored: Stored) -> bytes:
    """An object in protobuf, in its envelope."""
    from kube_core.api import protobuf  # its tables take a while to load

    return protobuf.envelope(registry.type.api_version, registry.type.kind, _message(registry, stored))


def _message(registry: Registry, stored: Stored) -> bytes:
    return stored.packed(_packer(registry.type.api_version, registry.type.kind))


@functools.cache
def _packer(api_version: str, kind: str) -> Callable[[Document], bytes]:
    from kube_core.api import protobuf
    from kube_core.api.schemas import builtin_name

    schema = builtin_name(api_version, kind)
    return lambda document: protobuf.content(document, schema)


def partial_metadata(document: Document) -> dict[str, Any]:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": document["metadata"],
    }


def _view(request: Request, document: Document, form: Form, status: int = 200) -> Response:
    """A Table or metadata: as a document for a caller in this process."""
    return Response(status, document=document) if request.user is not None else encoded(document, form, status)


def success(request: Request, document: Document, status: int = 200) -> Response:
    """A document that is not a stored object (a Status, a review) in the form that the client accepts."""
    if request.user is not None:
        return Response(status, document=document)
    return encoded(document, _plain_form(request), status)


def failure(request: Request, error: StatusError) -> Response:
    """The Status of an error."""
    document = error.to_document()
    try:
        response = success(request, document, error.code)
    except orjson.JSONEncodeError:
        # It repeats what a client sent in its head, where text need not be Unicode.
        response = success(request, _readable(document), error.code)
    retry = (error.details or {}).get("retryAfterSeconds")
    if retry:
        response.headers["Retry-After"] = str(retry)
    response.headers.update(error.headers)
    return response


def encoded(document: Document, form: Form, status: int = 200) -> Response:
    body = negotiation.encode(document, form)
    if form.media_type == negotiation.JSON and not form.pretty:
        body += b"\n"
    return Response(status, content_type=form.media_type, body=body)


def _plain_form(request: Request) -> Form:
    try:
        form = negotiation.form_of(request)
    except NotAcceptable:
        return Form()
    return Form(form.media_type, "", form.pretty) if form.view else form


def _unversioned(stored: Stored) -> Document:
    """A dry run's new object: it has no resourceVersion."""
    document = dict(stored.document)
    document["metadata"] = {k: v for k, v in document["metadata"].items() if k != "resourceVersion"}
    return document


def _item(document: Document, *, typed: bool) -> Document:
    if typed:
        return document
    return {name: value for name, value in document.items() if name not in ("kind", "apiVersion")}


def _internal(registry: Registry) -> str:
    """How upstream names the type in this message."""
    group = registry.type.group.split(".", 1)[0] or "core"
    return f"*{group}.{registry.type.kind}"


def _readable(value: Any) -> Any:
    """The same with what is no text replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {key: _readable(part) for key, part in value.items()}
    return [_readable(part) for part in value] if isinstance(value, list | tuple) else value
