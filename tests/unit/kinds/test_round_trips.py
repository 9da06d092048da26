"""Any instance of a kind is written as its schema has it, and read as it was."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kube_core as kube
from fakes.websites import OldWebsite, Port, Tier, Website
from kube_core.api.models import from_document, metadata_of, status_of, to_document
from kube_core.api.structural import Structural
from kube_core.kinds.declare import declaration_of
from kube_core.meta.documents import freeze
from kube_core.registry.custom import validation

_NAMES = st.text("abc", min_size=1, max_size=5)


def _schema(cls: type) -> Structural:
    declaration = declaration_of(cls)
    assert declaration is not None
    return Structural(declaration.schema())


SCHEMA = _schema(Website)
SITES: st.SearchStrategy[Website] = st.builds(
    Website,
    repository=st.text("abc./", min_size=1, max_size=40),
    replicas=st.integers(0, 99),
    most=st.integers(-(2**63), 2**63 - 1),
    tier=st.sampled_from(Tier),
    mode=st.sampled_from(["static", "dynamic"]),
    color=st.sampled_from(["red", "blue", None]),
    weight=st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    ports=st.lists(st.builds(Port, name=_NAMES, number=st.integers(1, 65535)), max_size=3, unique_by=lambda p: p.name)
    .map(tuple),
    hosts=st.frozensets(st.text(max_size=4), max_size=4),
    paths=st.lists(st.text(min_size=2, max_size=4), max_size=3).map(tuple),
    listen=st.none() | st.integers(0, 100) | st.text(max_size=3),
    secret=st.none() | st.binary(max_size=5),
    owner=st.none() | _NAMES,
)  # fmt: skip


@settings(deadline=None)
@given(SITES)
def test_every_instance_fits_its_schema_and_comes_back(site: Website) -> None:
    document = to_document(site)
    assert validation.validate(document, SCHEMA, root=True) == []
    assert from_document(Website, document) == site


_BREAKS: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("repository"), st.text("ABC", min_size=1) | st.text("a", min_size=41, max_size=50)),
    st.tuples(st.just("replicas"), st.integers(max_value=-1, min_value=-(2**63)) | st.integers(100, 2**63 - 1)),
    st.tuples(st.just("color"), st.text("xyz")),
    st.tuples(st.just("weight"), st.floats(max_value=0, allow_infinity=False, allow_nan=False)),
    st.tuples(st.just("tier"), st.text("xyz")),
    st.tuples(st.just("mode"), st.text("xyz")),
    st.tuples(st.just("paths"), st.lists(st.text(max_size=1) | st.text(min_size=5, max_size=9), min_size=1)),
)


@settings(deadline=None)
@given(SITES, _BREAKS)
def test_what_python_refuses_the_schema_refuses_at_the_same_field(site: Website, broken: tuple[str, Any]) -> None:
    field, value = broken
    document = to_document(site)
    document["spec"][field] = value
    problems = validation.validate(document, SCHEMA, root=True)
    assert problems
    assert all(problem.field.split(".")[1].split("[")[0] == field for problem in problems)


def test_what_has_no_field_is_remembered_of_an_object_that_was_read() -> None:
    document = freeze(
        {
            "apiVersion": "example.dev/v1beta1",
            "kind": "Website",
            "metadata": {"name": "a", "labels": {"b": "c"}},
            "spec": {"repo": "git.example", "count": 2},
        }
    )
    site = from_document(OldWebsite, document)
    assert site is from_document(OldWebsite, document)
    assert (metadata_of(site).name, metadata_of(site).labels, status_of(site)) == ("a", {"b": "c"}, None)
    assert to_document(site) == document
    # A copy is another object, of which nothing is known.
    assert to_document(attrs.evolve(site))["metadata"] == {}


def test_the_status_of_a_bare_class_is_read_as_the_class_that_its_kind_says() -> None:
    @attrs.frozen
    class Status:
        ready: int = 0

    @kube.kind(group="example.dev", version="v1", status=Status)
    @attrs.frozen
    class Bare:
        size: int = 1

    document = {"metadata": {"name": "a"}, "spec": {"size": 2}, "status": {"ready": 3}}
    bare = from_document(Bare, document)
    assert (bare, status_of(bare), metadata_of(bare).name) == (Bare(2), Status(3), "a")
    assert (status_of(Bare()), metadata_of(Bare()).name) == (None, None)


def test_a_class_that_cannot_be_remembered_is_refused() -> None:
    with pytest.raises(kube.KindError, match="weakref_slot=True"):

        @kube.kind(group="example.dev", version="v1")
        @attrs.frozen(weakref_slot=False)
        class Forgotten:
            size: int = 1
