"""Options of a request, from its query and body, checked as upstream checks them.

`CreateOptions`, `UpdateOptions`, `PatchOptions`, `DeleteOptions` and `ListOptions` are kinds of `meta.k8s.io`; what is
wrong with them is reported as an invalid object of that kind.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import orjson

from kube_core.abc.transport import Request
from kube_core.api.schemas import builtin, builtin_name
from kube_core.meta import fields
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.gvk import GroupKind
from kube_core.meta.json_faults import json_fault
from kube_core.meta.status import BadRequest, invalid
from kube_core.registry import decoding
from kube_core.registry.context import DeleteOptions, WriteOptions
from kube_core.registry.decoding import DecodingError

__all__ = [
    "LATEST",
    "ContinueToken",
    "ListOptions",
    "delete_options",
    "flag",
    "list_options",
    "parse_revision",
    "write_options",
]

_META = "meta.k8s.io"
#: What a body of DELETE can be and is not wanted: kinds that every group has, and those of `meta.k8s.io/v1`.
_OPTIONS_OF_ANY_GROUP = ("CreateOptions", "UpdateOptions")
_META_KINDS = ("GetOptions", "ListOptions", "PatchOptions", "TableOptions", "Table", "PartialObjectMetadata")
#: How upstream calls its list of kinds, in its words on any other.
_META_SCHEME = "pkg/runtime/scheme.go:111"
_FALSE = ("", "0", "false", "False", "FALSE", "f", "F")
_LARGEST_REVISION = (1 << 64) - 1
#: The version by which upstream names its tokens in errors.
_TOKEN_VERSION = "meta.k8s.io/v1"
#: The revision of a token that goes on with the present state.
LATEST = -1


@attrs.frozen
class ContinueToken:
    """Where the next page of a list begins, and of which revision (upstream's `meta.k8s.io/v1` token).

    `start` is a key below that of the resource. A revision of `LATEST` is that of the moment: so a list goes on,
    inconsistently, whose own revision is gone.
    """

    revision: int
    start: str

    def encode(self) -> str:
        token = orjson.dumps({"v": _TOKEN_VERSION, "rv": self.revision, "start": self.start})
        return base64.urlsafe_b64encode(token).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> ContinueToken:
        """Raises `BadRequest`."""
        try:
            decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            token = orjson.loads(decoded)
            version, revision, start = token["v"], int(token.get("rv") or 0), str(token.get("start") or "")
        except orjson.JSONDecodeError as error:
            raise _bad_token(json_fault(decoded) or str(error)) from error
        except (binascii.Error, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise _bad_token(str(error)) from error
        if version != _TOKEN_VERSION:
            raise _bad_token("server does not recognize this encoded version")
        if revision == 0:
            raise _bad_token(f"incorrect encoded start resourceVersion (version {_TOKEN_VERSION})")
        if not start:
            raise _bad_token(f"encoded start key empty (version {_TOKEN_VERSION})")
        if any(part in ("", ".", "..") for part in start.removeprefix("/").split("/")):
            raise _bad_token(start)
        return cls(max(revision, LATEST), start)


@attrs.frozen
class ListOptions:
    """`metav1.ListOptions`; selectors as text, `resource_version` None where it was not given."""

    label_selector: str = ""
    field_selector: str = ""
    watch: bool = False
    allow_bookmarks: bool = False
    resource_version: str = ""
    resource_version_match: str = ""
    timeout: float | None = None
    limit: int = 0
    continue_token: str = ""
    send_initial_events: bool | None = None


def parse_revision(text: str) -> int:
    """A resource version as a number; "" is 0. Raises `BadRequest`."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise _bad_revision(text, "invalid syntax")
    if len(text) > 20 or int(text) > _LARGEST_REVISION:
        raise _bad_revision(text, "value out of range")
    return int(text)


def flag(text: str) -> bool:
    """A flag of a query as upstream reads it: everything is true that is not a word for false."""
    return text not in _FALSE


def write_options(request: Request, kind: Literal["CreateOptions", "UpdateOptions", "PatchOptions"]) -> WriteOptions:
    """Raises `Invalid`."""
    if not request.query:
        return WriteOptions(field_manager=_default_manager(request))
    query = _grouped(request.query)
    errors: list[FieldError] = []
    dry_run = _dry_run(query.get("dryRun"), errors)
    manager = _first(query, "fieldManager")
    if len(manager) > 128:
        errors.append(fields.too_long(Path("fieldManager"), 128))
    elif not manager.isprintable():
        errors.append(fields.invalid(Path("fieldManager"), manager, "should only contain printable characters"))
    validation = _first(query, "fieldValidation")
    if validation not in ("", "Ignore", "Warn", "Strict"):
        errors.append(fields.not_supported(Path("fieldValidation"), validation, ["", "Ignore", "Strict", "Warn"]))
    if errors:
        raise invalid(GroupKind(_META, kind), "", errors)
    return WriteOptions(
        dry_run=dry_run,
        field_manager=manager or _default_manager(request),
        field_validation=validation or "Warn",  # type: ignore[arg-type]
        force=flag(_first(query, "force")) if "force" in query else None,
        sent=_sent(query),
    )


def delete_options(request: Request, body: Any) -> DeleteOptions:
    """From the body (`DeleteOptions`, or None) or else the query. Raises `Invalid`, `BadRequest`."""
    query = _grouped(request.query)
    source: Mapping[str, Any] = _delete_body(body) if body is not None else _delete_query(query)
    errors: list[FieldError] = []
    dry_run = _dry_run(source.get("dryRun"), errors)
    propagation = source.get("propagationPolicy")
    orphan = source.get("orphanDependents")
    if propagation is not None and orphan is not None:
        errors.append(
            fields.invalid(
                Path("propagationPolicy"), propagation, "orphanDependents and deletionPropagation cannot be both set"
            )
        )
    if propagation not in (None, "Foreground", "Background", "Orphan"):
        errors.append(
            fields.not_supported(Path("propagationPolicy"), propagation, ["Foreground", "Background", "Orphan", "nil"])
        )
    if errors:
        raise invalid(GroupKind(_META, "DeleteOptions"), "", errors)
    grace = source.get("gracePeriodSeconds")
    preconditions = source.get("preconditions") or {}
    return DeleteOptions(
        # A negative period means the shortest there is, as documented for the field.
        grace_period=None if grace is None else 1 if grace < 0 else int(grace),
        propagation=propagation,
        orphan_dependents=orphan,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        dry_run=dry_run,
        sent={name: value for name, value in source.items() if name not in ("kind", "apiVersion")},
    )


def list_options(request: Request) -> ListOptions:
    """Raises `Invalid`, `BadRequest`."""
    if not request.query:
        return ListOptions()
    query = _grouped(request.query)
    watch = "watch" in query and flag(_first(query, "watch"))
    initial = _first(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    options = ListOptions(
        label_selector=_first(query, "labelSelector"),
        field_selector=_first(query, "fieldSelector"),
        watch=watch,
        allow_bookmarks=flag(_first(query, "allowWatchBookmarks")),
        resource_version=_first(query, "resourceVersion"),
        resource_version_match=_first(query, "resourceVersionMatch"),
        timeout=_number(query, "timeoutSeconds"),
        limit=max(_number(query, "limit") or 0, 0),
        continue_token=_first(query, "continue"),
        send_initial_events=None if initial is None else flag(initial),
    )
    errors = list(_check_list(options))
    if errors:
        raise invalid(GroupKind(_META, "ListOptions"), "", errors)
    return options


def _check_list(options: ListOptions) -> Sequence[FieldError]:
    errors: list[FieldError] = []
    match = Path("resourceVersionMatch")
    mode = options.resource_version_match
    if options.watch:
        if options.send_initial_events is None:
            if mode:
                errors.append(
                    fields.forbidden(
                        match, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                    )
                )
        elif mode != "NotOlderThan":
            errors.append(
                fields.forbidden(match, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
            )
            if mode:
                errors.append(fields.not_supported(match, mode, ["NotOlderThan"]))
        return errors
    if mode:
        if not options.resource_version:
            errors.append(
                fields.forbidden(match, "resourceVersionMatch is forbidden unless resourceVersion is provided")
            )
        if options.continue_token:
            errors.append(fields.forbidden(match, "resourceVersionMatch is forbidden when continue is provided"))
        if mode not in ("Exact", "NotOlderThan"):
            errors.append(fields.not_supported(match, mode, ["Exact", "NotOlderThan", ""]))
        if mode == "Exact" and options.resource_version == "0":
            errors.append(fields.forbidden(match, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if options.send_initial_events is not None:
        errors.append(fields.forbidden(Path("sendInitialEvents"), "sendInitialEvents is forbidden for list"))
    return errors


def _bad_token(why: str) -> BadRequest:
    return BadRequest(f"invalid continue token: continue key is not valid: {why}")


def _bad_revision(text: str, why: str) -> BadRequest:
    problem = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}'
    return BadRequest(f"invalid resource version: resourceVersion: {problem}")


def _default_manager(request: Request) -> str:
    """Upstream's fallback: the user agent up to its first slash."""
    agent = request.headers.get("user-agent", "")
    return agent.split("/", 1)[0][:128] or "unknown"


def _dry_run(values: Any, errors: list[FieldError]) -> bool:
    if not values:
        return False
    values = [values] if isinstance(values, str) else list(values)
    if any(value != "All" for value in values):
        errors.append(fields.not_supported(Path("dryRun"), values, ["All"]))
        return False
    return True


def _delete_body(body: Any) -> Mapping[str, Any]:
    """A body that is DeleteOptions, of any group. Raises `BadRequest`, as upstream's list of these kinds has it."""
    if not isinstance(body, Mapping):
        raise BadRequest("couldn't get version/kind; json parse error: the body is not an object")
    kind, version = body.get("kind") or "DeleteOptions", body.get("apiVersion") or "v1"
    if kind in _OPTIONS_OF_ANY_GROUP or (version == f"{_META}/v1" and kind in _META_KINDS):
        raise BadRequest("decoded object cannot be converted to DeleteOptions")
    if kind != "DeleteOptions":
        raise BadRequest(f'no kind "{kind}" is registered for version "{version}" in scheme "{_META_SCHEME}"')
    try:
        return decoding.read(body, builtin(builtin_name("v1", "DeleteOptions")), "Ignore")[0]
    except DecodingError as error:
        raise BadRequest(str(error)) from None


def _delete_query(query: Mapping[str, list[str]]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    if "gracePeriodSeconds" in query and (grace := _number(query, "gracePeriodSeconds")) is not None:
        found["gracePeriodSeconds"] = grace
    if "propagationPolicy" in query:
        found["propagationPolicy"] = _first(query, "propagationPolicy")
    if "orphanDependents" in query:
        found["orphanDependents"] = flag(_first(query, "orphanDependents"))
    if "dryRun" in query:
        found["dryRun"] = query["dryRun"]
    return found


def _number(query: Mapping[str, list[str]], name: str) -> int | None:
    text = _first(query, name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _first(query: Mapping[str, list[str]], name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def _sent(query: Mapping[str, list[str]]) -> Mapping[str, Any]:
    """Write options as a document; `force` is of patches alone, which admission never sees as such."""
    sent: dict[str, Any] = {"dryRun": query["dryRun"]} if query.get("dryRun") else {}
    for name in ("fieldManager", "fieldValidation"):
        if value := _first(query, name):
            sent[name] = value
    return sent


def _grouped(query: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in query:
        grouped.setdefault(name, []).append(value)
    return grouped
