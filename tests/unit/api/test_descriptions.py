"""Descriptions: every field of the common kinds has one, each is a line, and none is of a field that is not there."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator

import pytest

from kube_core.api.descriptions import FILES, Descriptions
from kube_core.api.schemas import builtin_documents

LONGEST = 120


def described() -> Iterator[tuple[str, str]]:
    """The names and file prefixes of the schemas that the files are about."""
    for name in builtin_documents():
        for prefix in FILES:
            if name.startswith(prefix):
                yield name, prefix


def lines(file: str) -> list[str]:
    text = (pkgutil.get_data("kube_core.api.descriptions", f"{file}.txt") or b"").decode()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def entries(file: str) -> Iterator[tuple[str, str]]:
    """Type and field of each line; the field is "" for the type itself."""
    kind = ""
    for line in lines(file):
        key = line.partition(": ")[0]
        if line.startswith(" "):
            yield kind, key.strip()
        else:
            kind = key.partition(" < ")[0]
            yield kind, ""


@pytest.mark.parametrize("prefix", FILES)
def test_every_type_and_field_is_described(prefix: str) -> None:
    descriptions = Descriptions()
    documents = builtin_documents()
    missing = []
    for name, of in described():
        if of == prefix:
            texts = descriptions.of(name)
            fields = ["", *(documents[name].get("properties") or ())]
            missing += [f"{name}.{field}" for field in fields if not texts.get(field)]
    assert not missing


@pytest.mark.parametrize("file", FILES.values())
def test_nothing_is_described_that_does_not_exist(file: str) -> None:
    fields = {
        name.rpartition(".")[2]: builtin_documents()[name].get("properties") or {}
        for name, prefix in described()
        if FILES[prefix] == file
    }
    extra = [
        f"{kind}.{field}"
        for kind, field in entries(file)
        if not kind.startswith("_") and (kind not in fields or (field and field not in fields[kind]))
    ]
    assert not extra


@pytest.mark.parametrize("file", FILES.values())
def test_texts_are_short_sentences(file: str) -> None:
    for line in lines(file):
        text = line.partition(": ")[2]
        assert 0 < len(text) <= LONGEST, line
        assert text.endswith("."), line


@pytest.mark.parametrize("file", FILES.values())
def test_nothing_is_described_twice(file: str) -> None:
    keys = [f"{kind}.{field}" for kind, field in entries(file)]
    assert sorted(set(keys)) == sorted(keys)


def test_fields_are_inherited_and_described_anew() -> None:
    texts = Descriptions().of("io.k8s.api.core.v1.EphemeralContainer")
    assert texts["image"] == Descriptions().of("io.k8s.api.core.v1.Container")["image"]
    assert texts["ports"].startswith("Not allowed")


def test_lists_are_described_by_what_they_list() -> None:
    texts = Descriptions().of("io.k8s.api.apps.v1.DeploymentList")
    assert texts[""] == "A list of Deployment objects."
    assert texts["items"]


def test_kinds_without_a_file_have_what_all_kinds_have() -> None:
    assert Descriptions().of("io.k8s.api.storage.v1.StorageClass")["metadata"]
