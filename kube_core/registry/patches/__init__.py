"""Patches: from a document and a patch in one of three dialects to the patched document.

`parse_patch` reads a request's body, `apply_patch` applies what it gave; both raise the `Status` that upstream's server
answers, and neither changes what it is given. Server-side apply is not here: it needs to know who owns which field
(`kube_core.registry.apply`).

What always holds:

* The result is the caller's own and shares no mutable part with the document or the patch.
* After a JSON or merge patch, objects on the way to a change have sorted keys and untouched ones are as they were: so
  does upstream's patched JSON look, and `refuse` quotes it to the client.

Behaviour mirrored: "Patch" in upstream's API concepts; JSON Patch is RFC 6902 with the leniencies of the library that
upstream uses (see `json_patch`), JSON merge patch is RFC 7386, strategic merge patch is documented in
"Strategic Merge Patch" of the SIG API Machinery's contributor pages. The PATCH verb itself (preconditions, retries,
identity checks) belongs to the generic registry.
"""

from __future__ import annotations

from typing import Any

import orjson

from kube_core.api.schemas import Schema
from kube_core.meta import status
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError
from kube_core.meta.json_faults import OBJECT, unreadable
from kube_core.registry.patches import json_patch, merge, strategic
from kube_core.registry.patches.wording import go_text

__all__ = [
    "APPLY",
    "JSON",
    "MERGE",
    "STRATEGIC",
    "apply_patch",
    "parse_patch",
    "refuse",
    "strict_errors",
    "unsupported_type",
]

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

#: Upstream's limit on the operations of one JSON Patch.
MAX_OPERATIONS = 10_000


def parse_patch(patch_type: str, body: bytes) -> Any:
    """The patch in a request's body (not for `APPLY`). Raises `BadRequest`, `RequestEntityTooLarge`."""
    try:
        patch = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise status.BadRequest("invalid JSON patch") from None
    if patch_type == JSON:
        json_patch.check(patch)
        if len(patch) > MAX_OPERATIONS:
            raise status.RequestEntityTooLarge(
                f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}"
            )
    elif patch is None:
        raise status.BadRequest("Invalid JSON Patch")
    elif not isinstance(patch, dict):
        raise status.BadRequest(f"error decoding patch: {unreadable(patch, OBJECT)}")
    return patch


def apply_patch(patch_type: str, document: Document, patch: Any, schema: Schema | None) -> MutableDocument:
    """`document` with `patch` applied. `schema` is the kind's own, or None where it has no merge strategies.

    The result is a new document, which shares what the patch leaves alone of a frozen one.
    `UnsupportedMediaType` for a strategic patch without a schema (custom resources), `Invalid` for a JSON Patch that
    does not apply, `BadRequest` for directives that contradict themselves.
    """
    if patch_type == JSON:
        patched = json_patch.apply(document, patch)
    elif patch_type == MERGE:
        patched = merge.apply(document, patch)
    elif patch_type == STRATEGIC:
        if schema is None:
            raise unsupported_type()
        patched = strategic.apply(document, patch, schema)
    else:
        raise unsupported_type()
    if not isinstance(patched, dict):
        raise status.BadRequest(unreadable(patched, OBJECT))
    return patched


def unsupported_type() -> status.UnsupportedMediaType:
    """What a patch in a media type that the resource does not take is answered with."""
    return status.UnsupportedMediaType("415: Unsupported Media Type", details={})


def strict_errors(patch_type: str, patch: Any) -> list[str]:
    """What strict field validation finds in the patch itself (the result is validated elsewhere)."""
    return json_patch.unknown_members(patch) if patch_type == JSON else []


def refuse(patch_type: str, patch: Any, patched: Document, detail: str) -> status.Invalid:
    """422 for a patch whose result cannot be read as an object of its kind: `detail` says why.

    Upstream's form: a cause for the field `patch`, with the patched JSON as its value (strategic: the patch).
    """
    shown = go_text(patch) if patch_type == STRATEGIC else orjson.dumps(patched).decode()
    body = f"Invalid value: {orjson.dumps(shown).decode()}: {detail}"
    error = FieldError("patch", "FieldValueInvalid", body)
    cause = {"reason": error.reason, "message": error.body, "field": error.field}
    return status.Invalid(f' "" is invalid: {error}', details={"causes": [cause]})
