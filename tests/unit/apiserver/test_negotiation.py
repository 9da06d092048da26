"""Accept and Content-Type: what is understood, what is preferred, what is refused with which words."""

from __future__ import annotations

import pytest

from kube_core.abc.transport import Request
from kube_core.apiserver import negotiation
from kube_core.apiserver.negotiation import JSON, YAML, Form
from kube_core.meta.status import BadRequest, NotAcceptable, UnsupportedMediaType

KUBECTL = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", Form()),
        ("*/*", Form()),
        ("application/*", Form()),
        ("application/json", Form()),
        ("application/json, */*", Form()),
        ("text/html,application/xhtml+xml,*/*", Form()),
        ("application/yaml", Form(YAML)),
        ("application/yaml,application/json", Form(YAML)),
        (f"{PROTOBUF},application/json", Form(PROTOBUF)),
        (f"application/json;q=0.5,{PROTOBUF};q=0.9", Form(PROTOBUF)),
        (f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io", Form(view="Table")),
        ("application/cbor,application/json;q=0.9", Form()),
        ("application/json;pretty=1", Form(pretty=True)),
        ("application/json; pretty=true", Form(pretty=True)),
        ("application/json;pretty=0", Form()),
        (KUBECTL, Form(view="Table")),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Form()),
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Form(view="PartialObjectMetadata")),
        (
            f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Form(PROTOBUF, "PartialObjectMetadataList"),
        ),
        ("application/yaml;as=Table;v=v1;g=meta.k8s.io", Form(YAML, "Table")),
        ("application/json;as=Fantasy;v=v1;g=meta.k8s.io,*/*", Form()),
    ],
)
def test_the_first_form_that_is_there_is_given(header: str, wanted: Form) -> None:
    assert negotiation.accept(header) == wanted


def test_custom_resources_have_no_protobuf() -> None:
    assert negotiation.accept(f"{PROTOBUF},application/json", False) == Form()
    with pytest.raises(NotAcceptable):
        negotiation.accept(PROTOBUF, False)


@pytest.mark.parametrize(
    ("query", "agent", "pretty"),
    [
        ((("pretty", "true"),), "", True),
        ((("pretty", "false"),), "curl/8", False),
        ((), "curl/8.5.0", True),
        ((), "kubectl/v1.37.2", False),
    ],
)
def test_json_is_indented_for_who_asks_and_for_people(
    query: tuple[tuple[str, str], ...], agent: str, pretty: bool
) -> None:
    assert negotiation.form_of(Request("GET", "/", query, {"user-agent": agent})).pretty is pretty


@pytest.mark.parametrize("header", ["text/html", "application/cbor", "application/xml, text/plain"])
def test_a_media_type_that_is_not_there_is_not_acceptable(header: str) -> None:
    with pytest.raises(NotAcceptable, match="406: Not Acceptable\n\nAvailable representations: application/json"):
        negotiation.accept(header)


def test_a_view_that_is_not_there_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable, match="only the following media types are accepted: application/json"):
        negotiation.accept("application/json;as=Fantasy;v=v1;g=meta.k8s.io")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b'{"a": 1}'),
        ("application/json", b'{"a": 1}'),
        ("application/json; charset=utf-8", b'{"a": 1}'),
        ("application/yaml", b"a: 1"),
        ("application/yaml", b'{"a": 1}'),
        ("application/apply-patch+yaml", b"a: 1\n"),
    ],
)
def test_a_body_is_read_by_its_media_type(content_type: str, body: bytes) -> None:
    assert negotiation.decode_body(body, content_type) == {"a": 1}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b'{"a": "\xff"}'),
        ("application/json", b"[" * 100_000),
        ("application/yaml", b"a: [1"),
        ("application/yaml", b"a: \xff"),
        ("application/yaml", b"{" * 5_000),
        ("application/yaml", b"a: &a [*a]"),
        (
            "application/yaml",
            b"\n".join(
                [b"a0: &a0 x", *(b"a%d: &a%d [%b]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12))]
            ),
        ),
        (PROTOBUF, b"k8s\x00\xff\xff"),
        (PROTOBUF, b"{}"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_a_bad_request(content_type: str, body: bytes) -> None:
    with pytest.raises(BadRequest):
        negotiation.decode_body(body, content_type)


def test_a_media_type_that_is_not_read_is_unsupported() -> None:
    with pytest.raises(UnsupportedMediaType, match="accepted media types include: application/json, application/yaml"):
        negotiation.decode_body(b"<a/>", "text/xml")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"a":{"b":1,"b":2}}'),
        ("application/yaml", b"a:\n  b: 1\n  b: 2\n"),
        (YAML, b'{"a":{"b":1,"b":2}}'),
    ],
)
def test_keys_that_are_said_twice_are_told(content_type: str, body: bytes) -> None:
    decoded = negotiation.decode_body(body, content_type)
    (text,) = negotiation.repeated_keys(body, content_type, decoded)
    assert "b" in text


def test_a_document_is_written_in_the_form_that_was_asked_for() -> None:
    document = {"kind": "A", "items": []}
    assert negotiation.encode(document, Form()) == b'{"kind":"A","items":[]}'
    assert negotiation.encode(document, Form(pretty=True)).startswith(b'{\n  "kind": "A"')
    assert negotiation.encode(document, Form(YAML)).splitlines() == [b"items: []", b"kind: A"]
    assert Form().media_type == JSON
