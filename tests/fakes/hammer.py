"""Requests made by chance, of every verb and form on every built-in kind, and what must be true of every answer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

import orjson

from fakes.documents import damaged, document, hostile, name
from fakes.server import Caller
from kube_core.abc.transport import Request, Response
from kube_core.api.descriptors import builtin_descriptors
from kube_core.api.types import ResourceDescriptor

__all__ = ["asked_by_chance", "hammer"]

#: No request may take longer, on however slow a machine: a watchdog for loops that do not end, not a measurement.
_LONGEST = 30.0
_ACCEPTED = (
    "", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "*/*", "text/html",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json;as=Table;v=v9;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadataList;g=",
    "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", ";;;,,,", "application/json;q=x",
)  # fmt: skip
_PARAMETERS: Sequence[tuple[str, Sequence[str]]] = (
    ("limit", ("1", "0", "-1", "x", "9" * 40, "1e3", "")),
    ("continue", ("", "x", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0", "\0")),
    ("resourceVersion", ("0", "1", "-1", "x", "9" * 30, "")),
    ("resourceVersionMatch", ("Exact", "NotOlderThan", "x", "")),
    ("labelSelector", ("a=b", "a in (b,c)", "!a", "a,", "(((", "a" * 5000, ",".join(f"k{n}=v" for n in range(300)))),
    ("fieldSelector", ("metadata.name=a", "spec.nodeName!=b", "status.phase=x", "=", "a==b==c", "metadata.name=")),
    ("dryRun", ("All", "x", "")),
    ("fieldManager", ("m", "", "a" * 200, "\u2028")),
    ("fieldValidation", ("Strict", "Warn", "Ignore", "x")),
    ("force", ("true", "x", "")),
    ("pretty", ("true", "x")),
    ("timeoutSeconds", ("1", "-1", "x", "9" * 30)),
    ("gracePeriodSeconds", ("0", "-1", "x", "9" * 30)),
    ("propagationPolicy", ("Orphan", "Foreground", "x")),
    ("orphanDependents", ("true", "x")),
    ("includeObject", ("None", "Object", "x")),
    ("sendInitialEvents", ("true", "x")),
    ("allowWatchBookmarks", ("true", "x")),
    ("container", ("a", "")),
    ("tailLines", ("-1", "x")),
)
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain", "")


def asked_by_chance(chance: random.Random, descriptors: Sequence[ResourceDescriptor] = ()) -> Request:
    """One request."""
    descriptor = chance.choice(descriptors or tuple(builtin_descriptors()))
    kind = descriptor.type
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    path = f"{root}/namespaces/default/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    if kind.namespaced and chance.random() < 0.1:
        path = f"{root}/{kind.plural}"
    method = chance.choice(("POST", "POST", "POST", "PUT", "PUT", "PATCH", "PATCH", "PATCH", "GET", "DELETE"))
    if chance.random() < (0.05 if method == "POST" else 0.9):
        path += f"/{name(chance)}"
        if descriptor.subresources and chance.random() < 0.3:
            path += f"/{chance.choice(descriptor.subresources).name}"
    query = [(key, chance.choice(values)) for key, values in _PARAMETERS if chance.random() < 0.06]
    headers = {"accept": chance.choice(_ACCEPTED)} if chance.random() < 0.4 else {}
    body = b""
    if method != "GET":
        headers["content-type"], body = _body(chance, method, descriptor)
    if headers.get("content-type") == _PATCHES[3]:
        query.append(("fieldManager", chance.choice(("m", "n"))))
    return Request(method, path, query, headers, body)


async def hammer(caller: Caller, seed: int, times: int) -> None:
    """Ask that many requests, of which some build on others. Fails for a 500, and for one that never ends."""
    chance = random.Random(seed)
    focus = chance.sample(tuple(builtin_descriptors()), 4)
    for _ in range(times):
        request = asked_by_chance(chance, focus)
        request.headers = {**request.headers, "authorization": "Bearer admin-token"}
        async with asyncio.timeout(_LONGEST):
            response = await caller.server.handle(request)
        await _check(request, response, seed)


async def _check(request: Request, response: Response, seed: int) -> None:
    if response.stream is not None:
        close = getattr(response.stream, "aclose", None)
        if close is not None:
            await close()
    shown = f"seed {seed}: {request.method} {request.path} {request.query} {dict(request.headers)}"
    assert response.status < 500 or response.status in (501, 503, 504), f"{shown}\n{request.body[:20_000]!r}"
    if response.status >= 400 and response.content_type == "application/json":
        assert orjson.loads(response.encoded())["kind"] == "Status", shown


def _body(chance: random.Random, method: str, descriptor: ResourceDescriptor) -> tuple[str, bytes]:
    made: Any = document(descriptor, chance)
    if chance.random() < 0.5:
        made = damaged(made, chance, chance.choice((1, 1, 2, 5)))
    kind = chance.choice(_TYPES) if chance.random() < 0.15 else "application/json"
    if method == "PATCH":
        kind = chance.choice(_PATCHES)
        if kind == _PATCHES[0]:
            made = [_operation(chance, made) for _ in range(chance.randrange(4))]
        elif kind == _PATCHES[2] and isinstance(made, dict):
            made = _with_directives(made, chance)
    if method == "DELETE":
        made = {} if chance.random() < 0.8 else damaged({"kind": "DeleteOptions", "apiVersion": "v1"}, chance, 1)
    body = json.dumps(made).encode()
    if chance.random() < 0.05:
        body = _torn(body, chance)
    return kind, body


def _operation(chance: random.Random, made: Any) -> Any:
    paths = [
        "",
        "/",
        "/metadata/labels/a",
        "/spec",
        "/metadata",
        "/spec/replicas",
        "/metadata/finalizers/-",
        "/~2",
        "/spec/a/0/-1",
        "/metadata/name",
        "/kind",
        "/data",
    ]
    operation = {
        "op": chance.choice(("add", "remove", "replace", "move", "copy", "test", "x")),
        "path": chance.choice(paths),
        "from": chance.choice(paths),
        "value": made if chance.random() < 0.3 else hostile(chance),
    }
    return damaged(operation, chance, 1) if chance.random() < 0.2 else operation


def _with_directives(made: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    directives: Sequence[tuple[str, Any]] = (
        ("$patch", chance.choice(("delete", "replace", "merge", "x", 1))),
        ("$retainKeys", chance.choice((["a"], [1], "a", {}))),
        (
            chance.choice(("$setElementOrder/containers", "$setElementOrder/x")),
            chance.choice(([{"name": "a"}], ["a"], 1)),
        ),
        (
            chance.choice(("$deleteFromPrimitiveList/finalizers", "$deleteFromPrimitiveList/x")),
            chance.choice((["a"], 1)),
        ),
    )
    for part in [made, made.get("spec"), made.get("metadata")]:
        if isinstance(part, dict) and chance.random() < 0.3:
            key, value = chance.choice(directives)
            part[key] = value
    return made


def _torn(body: bytes, chance: random.Random) -> bytes:
    match chance.randrange(6):
        case 0:
            return body[: chance.randrange(len(body) + 1)]
        case 1:
            position = chance.randrange(len(body) + 1)
            return (
                body[:position] + chance.choice((b"\xff", b"\0", b"\xed\xa0\x80", b"\\ud800", b"NaN")) + body[position:]
            )
        case 2:
            return b"\xef\xbb\xbf" + body
        case 3:
            return b'{"a":' * 2000 + b"1" + b"}" * 2000
        case 4:
            return b"k8s\0" + body
        case _:
            return body + body
