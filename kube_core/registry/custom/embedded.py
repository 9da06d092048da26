"""Embedded resources (`x-kubernetes-embedded-resource`): whole objects within custom resources.

Each says what it is (`apiVersion`, `kind`), and its metadata is of the type that every object's is: `coerce` brings it
into that form and drops what is unknown there, `problems` judges it. A schema without embedded resources costs nothing.

Mirrors "RawExtension" in upstream's documentation of CustomResourceDefinitions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from kube_core.api.schemas import Schema, builtin
from kube_core.api.structural import Structural
from kube_core.meta import fields, names
from kube_core.meta.fields import FieldError, Path
from kube_core.registry import decoding
from kube_core.registry.decoding import DecodingError
from kube_core.registry.kinds.metadata import template_metadata

__all__ = ["coerce", "problems", "read_metadata"]

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def read_metadata(metadata: Any) -> tuple[dict[str, Any], list[str]]:
    """An object's metadata in canonical form, and what is unknown in it. Raises `DecodingError`."""
    read, unknown = decoding.read({"metadata": metadata}, _with_metadata(), "Warn")
    return read.get("metadata") or {}, list(unknown)


def coerce(value: Any, schema: Structural, unknown: list[str], path: str = "") -> None:
    """Bring the metadata of embedded resources into form, in place; `unknown` gets the paths of what was dropped.

    Raises `DecodingError` for metadata of the wrong type.
    """
    if not schema.has_embedded:
        return
    if isinstance(value, dict):
        if schema.embedded and value.get("metadata") is not None:
            try:
                value["metadata"], found = read_metadata(value["metadata"])
            except DecodingError as error:
                raise DecodingError(f"{path}.metadata: {error}") from None
            unknown += [problem.replace('"metadata', f'"{path}.metadata', 1) for problem in found]
        for name, member in value.items():
            below = schema.member(name)
            if below is not None:
                coerce(member, below, unknown, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            coerce(item, schema.items, unknown, f"{path}[{index}]")


def problems(value: Any, schema: Structural, path: Path) -> Iterator[FieldError]:
    """What is wrong with what embedded resources say they are."""
    if not schema.has_embedded:
        return
    if isinstance(value, Mapping):
        if schema.embedded:
            yield from _identity(value, path)
        for name, member in value.items():
            below = schema.member(name)
            if below is not None:
                yield from problems(member, below, path.child(name) if name in schema.properties else path.key(name))
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            yield from problems(item, schema.items, path.index(index))


def _identity(value: Mapping[str, Any], path: Path) -> Iterator[FieldError]:
    for name, wrong in (("apiVersion", _bad_version), ("kind", _bad_kind)):
        here = path.child(name)
        if name not in value:
            yield fields.required(here, "must not be empty")
        elif not isinstance(value[name], str):
            yield fields.invalid(here, value[name], "must be a string")
        elif problem := wrong(value[name]):
            yield fields.invalid(here, value[name], problem)
    metadata = value.get("metadata")
    if isinstance(metadata, Mapping):
        here = path.child("metadata")
        name, namespace = metadata.get("name") or "", metadata.get("namespace") or ""
        for problem in names.path_segment(name):
            yield fields.invalid(here.child("name"), name, problem)
        for problem in names.dns1123_label(namespace) if namespace else ():
            yield fields.invalid(here.child("namespace"), namespace, problem)
        yield from template_metadata(here, metadata)


def _bad_version(text: str) -> str:
    if not text:
        return "must not be empty"
    return f"unexpected GroupVersion string: {text}" if text.count("/") > 1 else ""


def _bad_kind(text: str) -> str:
    if not text:
        return "must not be empty"
    found = names.dns1035_label(text.lower())
    return f"may have mixed case, but should otherwise match: {','.join(found)}" if found else ""


@functools.cache
def _with_metadata() -> Schema:
    library: Any = builtin(_OBJECT_META).library
    reference = f"#/components/schemas/{_OBJECT_META}"
    return Schema({"type": "object", "properties": {"metadata": {"$ref": reference}}}, library)
