"""Stored objects: what is decoded is kept while it is recent, or while somebody holds it."""

from __future__ import annotations

import sys
import weakref

import orjson

from kube_core.bus.changes import Recent, Stored, encode
from kube_core.meta.documents import Document, Key

DOCUMENT = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "b"}, "data": {"k": "v"}}


def stored(recent: Recent, name: str = "a") -> Stored:
    return Stored(Key("b", name), 7, encode(DOCUMENT), recent=recent)


def test_an_object_that_is_no_longer_recent_lets_go_of_its_document() -> None:
    recent = Recent(limit=len(encode(DOCUMENT)))
    first, second = stored(recent, "a"), stored(recent, "b")
    gone = weakref.ref(first.document)
    assert gone() is not None
    _ = second.document
    assert gone() is None


def test_a_document_that_somebody_holds_is_the_one_that_is_given_again() -> None:
    one = stored(Recent())
    held = one.document
    one.let_go()
    assert one.document is held


def test_what_was_let_go_of_is_read_again_from_the_bytes() -> None:
    one = stored(Recent())
    expected = {**DOCUMENT, "metadata": {"name": "a", "namespace": "b", "resourceVersion": "7"}}
    for _ in range(3):
        assert one.document == expected
        assert one.metadata["name"] == "a"
        one.let_go()


def test_the_document_at_hand_counts_as_decoded() -> None:
    recent = Recent(limit=len(encode(DOCUMENT)))
    one = Stored(Key("b", "a"), 7, encode(DOCUMENT), dict(DOCUMENT), recent)
    gone = weakref.ref(one.document)
    Stored(Key("b", "b"), 8, encode(DOCUMENT), dict(DOCUMENT), recent)
    assert gone() is None
    assert one.document["data"] == {"k": "v"}


def test_the_encoded_form_is_no_larger_than_it_has_to_be() -> None:
    data = encode(DOCUMENT)
    assert orjson.loads(data) == DOCUMENT
    assert sys.getsizeof(data) == sys.getsizeof(b"") + len(data)


def test_metadata_alone_is_cut_out_or_made_where_it_was_written_in_another_way() -> None:
    expected = {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": "a", "namespace": "b", "resourceVersion": "7"},
    }
    ours = stored(Recent())
    spaced = orjson.dumps(DOCUMENT).replace(b'"name":"a"', b'"name" : "a"')
    for one in (ours, Stored(Key("b", "a"), 7, spaced)):
        for _ in range(2):
            assert orjson.loads(one.partial) == expected


def test_what_is_made_of_an_object_is_made_once_and_of_its_revision() -> None:
    packed: list[object] = []

    def pack(document: Document) -> bytes:
        packed.append(document)
        return orjson.dumps(document)

    one = stored(Recent())
    for _ in range(2):
        assert one.packed(pack) == orjson.dumps(one.document)
    assert len(packed) == 1
    assert packed[0] == one.document
