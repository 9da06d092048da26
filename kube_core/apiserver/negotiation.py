"""Media types: what the client accepts, and what it sent.

Served are JSON, YAML and, for built-in kinds, protobuf; of each the form `PartialObjectMetadata(List)` of
`meta.k8s.io/v1`, and of the first two `Table`. CBOR, which upstream does not serve by default, is not.

The order of preference is the header's, after its weights (`q`); parameters that ask for a form that is not there make
a clause unacceptable, and the next one is tried, as upstream does. JSON is indented for who asks for it, and for
people, who are known by what their browsers and tools call themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

import attrs
import orjson

from kube_core.abc.transport import Request
from kube_core.api.duplicates import duplicate_fields
from kube_core.meta.json_faults import json_fault, unreadable
from kube_core.meta.status import BadRequest, NotAcceptable, UnsupportedMediaType

__all__ = [
    "JSON",
    "PROTOBUF",
    "YAML",
    "Form",
    "ReadAhead",
    "accept",
    "decode_body",
    "encode",
    "form_of",
    "is_slow",
    "no_object",
    "no_text",
    "repeated_keys",
]

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_OBJECT_TYPES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_STREAM_TYPES = "application/json, application/yaml, application/json;stream=watch"
_ACCEPTED = f"only the following media types are accepted: {_OBJECT_TYPES}"
#: Of custom resources, which have no numbers for their fields.
_NOT_BINARY = (
    "object *unstructured.Unstructured does not implement the protobuf marshalling interface and cannot be encoded to "
    "a protobuf message"
)
#: Bytes of YAML beyond which it is read apart; a thousand take some 8 ms.
_LONG_YAML = 1024
#: What upstream looks at first in a body, and how much of a body without it is shown.
_NO_KIND = "couldn't get version/kind"
_TYPED = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_SHOWN = 30
_AS_FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
#: How tools begin their User-Agent that show people what they get.
_PEOPLE = ("curl", "Wget", "Mozilla/5.0")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


@attrs.frozen
class Form:
    """How to answer: the media type and, of the object, which view."""

    media_type: str = JSON
    view: Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"] = ""
    pretty: bool = False


def form_of(request: Request, *, binary: bool = True) -> Form:
    """The best form for a request; without `binary` protobuf is not there. Raises `NotAcceptable`."""
    headers = request.headers
    form = accept(headers.get("accept", ""), binary)
    if form.media_type == JSON and not form.pretty and (request.query or headers):
        wanted = request.parameter("pretty", "-") if request.query else "-"
        people = headers.get("user-agent", "").startswith(_PEOPLE)
        if people if wanted == "-" else wanted.lower() not in ("false", "0"):
            return _PRETTY[form.view]
    return form


@functools.lru_cache(maxsize=256)
def accept(header: str, binary: bool = True) -> Form:
    """The best form for an Accept header ("" takes anything). Raises `NotAcceptable`."""
    if not header:
        return Form()
    refused_view = False
    for wanted, given in _clauses(header):
        media_type = JSON if wanted in ("*/*", "application/*") else wanted
        if media_type not in (JSON, YAML) and not (binary and media_type == PROTOBUF):
            continue
        view = given.get("as", "")
        if view:
            if view == "Table" and media_type == PROTOBUF:
                refused_view = True
                continue
            if view in _AS_FORMS and given.get("g") == "meta.k8s.io" and given.get("v") == "v1":
                return Form(media_type, view)  # type: ignore[arg-type]
            refused_view = True
            continue
        return Form(media_type, pretty=given.get("pretty") in ("1", "true"))
    if refused_view:
        raise NotAcceptable(_ACCEPTED, details={})
    if not binary:
        raise NotAcceptable(_NOT_BINARY if PROTOBUF in header else _ACCEPTED)
    raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {_STREAM_TYPES}", details={})


def _clauses(header: str) -> list[tuple[str, dict[str, str]]]:
    """Media types and their parameters, the most wanted first."""
    weighed = []
    for clause in header.split(","):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        try:
            weight = float(given.get("q", "1"))
        except ValueError:
            weight = 1.0
        weighed.append((weight, media_type, given))
    return [(media_type, given) for _, media_type, given in sorted(weighed, key=lambda each: -each[0])]


def unrecognized(why: str, kind: str, body: bytes) -> BadRequest:
    """The error for a body that is no object; `kind`: what it was to be, if that is known."""
    if not kind:
        return BadRequest(why)
    start = body[:_SHOWN]
    shown = "<empty>" if not body else start.decode(errors="replace") if body.startswith(b"{") else start.hex()
    more = " ..." if len(body) > _SHOWN else ""
    return BadRequest(f"the object provided is unrecognized (must be of type {kind}): {why} ({shown}{more})")


def no_object(value: Any, kind: str, body: bytes) -> BadRequest:
    """The error for a JSON value that is no object."""
    if not body:
        return unrecognized(f"{_NO_KIND}; json parse error: unexpected end of JSON input", kind, body)
    return unrecognized(f"{_NO_KIND}; json parse error: {unreadable(value, _TYPED)}", kind, body)


def no_text(field: str, value: Any, kind: str, body: bytes) -> BadRequest:
    """The error for an object that says in this field with something else than a text what it is."""
    return unrecognized(f"{_NO_KIND}; json parse error: {unreadable(value, 'string', f'.{field}')}", kind, body)


def decode_body(body: bytes, content_type: str, kind: str = "") -> Any:
    """A request body, which is to be an object of this kind, as a JSON value.

    Raises `UnsupportedMediaType`, `BadRequest`.
    """
    media_type = content_type.split(";", 1)[0].strip() or JSON
    if media_type == JSON:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            why = f"{_NO_KIND}; json parse error: {json_fault(body) or error}"
            raise unrecognized(why, kind, body) from None
    if media_type == PROTOBUF:
        # Only some clients speak it, and its tables take a while to load.
        from kube_core.api import protobuf
        from kube_core.api.schemas import builtin_name

        try:
            return protobuf.decode(body, builtin_name)
        except protobuf.ProtobufError as error:
            raise BadRequest(f"the object provided is unrecognized: {error}") from None
    if media_type in (YAML, "application/apply-patch+yaml", "text/yaml"):
        return parse_yaml(body)
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {_OBJECT_TYPES}",
        details={},
    )


class ReadAhead(bytes):
    """A body in YAML that was read before anybody asked: `found` is its document and messages of repeated keys."""

    found: tuple[Any, list[str]]

    @classmethod
    def of(cls, body: bytes) -> ReadAhead:
        """Takes long for a long body: not for the event loop. Raises `BadRequest`."""
        read = cls(body)
        read.found = _load_yaml(body)
        return read


def is_slow(body: bytes, content_type: str) -> bool:
    """Whether a body takes longer to be read than others may be kept waiting."""
    return (
        len(body) > _LONG_YAML
        and body[:1] not in (b"{", b"[")
        and content_type.partition(";")[0].strip() in (YAML, "application/apply-patch+yaml", "text/yaml")
    )


def parse_yaml(body: bytes) -> Any:
    """YAML 1.1 as upstream reads it; JSON is taken as what it is. Raises `BadRequest`."""
    if isinstance(body, ReadAhead):
        return body.found[0]
    if body[:1] in (b"{", b"["):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    return _load_yaml(body)[0]


def _load_yaml(body: bytes) -> tuple[Any, list[str]]:
    # YAML is rare on this path and its parser slow to import.
    from kube_core.api.yaml import YamlError, load_noting_duplicates

    try:
        return load_noting_duplicates(body)
    except YamlError as error:
        raise BadRequest(f"error converting YAML to JSON: yaml: {error}") from None


def repeated_keys(body: bytes, content_type: str, decoded: Any) -> list[str]:
    """A message for each key that a decoded body repeats, for field validation."""
    media_type = content_type.split(";", 1)[0].strip() or JSON
    if media_type == PROTOBUF:
        return []
    if media_type.endswith("json") or body[:1] in (b"{", b"["):
        try:
            return duplicate_fields(body, decoded)
        except ValueError:
            pass
    return body.found[1] if isinstance(body, ReadAhead) else _load_yaml(body)[1]


_PRETTY: Mapping[str, Form] = {view: Form(JSON, view, pretty=True) for view in ("", *_AS_FORMS)}  # type: ignore[arg-type]


def _schema_of(api_version: str, kind: str) -> str:
    from kube_core.api.schemas import builtin_name

    return builtin_name(api_version, kind) or _META + kind


def encode(document: Mapping[str, Any], form: Form) -> bytes:
    """A document in the media type of `form`."""
    if form.media_type == YAML:
        from kube_core.api.yaml import dump

        return dump(document)
    if form.media_type == PROTOBUF:
        from kube_core.api import protobuf

        try:
            return protobuf.encode(document, _schema_of(document.get("apiVersion", "v1"), document.get("kind", "")))
        except protobuf.ProtobufError as error:
            raise NotAcceptable(f"object cannot be encoded in protobuf: {error}", details={}) from None
    if form.pretty:
        return orjson.dumps(document, option=orjson.OPT_INDENT_2)
    return orjson.dumps(document)
