"""StorageClasses and VolumeAttributesClasses. Documented under "Storage Classes" and "Volume Attributes Classes"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["StorageClassStrategy", "VolumeAttributesClassStrategy"]

_PARAMETERS = 512
_PARAMETERS_SIZE = 256 * 1024


class StorageClassStrategy(BuiltinStrategy):
    returns_deleted = True

    def default(self, document: MutableDocument) -> None:
        document.setdefault("reclaimPolicy", "Delete")
        document.setdefault("volumeBindingMode", "Immediate")

    def validate(self, document: Document) -> Errors:
        yield from _driver(Path("provisioner"), document.get("provisioner") or "")
        yield from _parameters(document.get("parameters") or {})
        if document.get("reclaimPolicy"):
            yield from checks.one_of(Path("reclaimPolicy"), document["reclaimPolicy"], ("Delete", "Retain"))
        mode = document.get("volumeBindingMode")
        if mode is None:
            yield fields.required(Path("volumeBindingMode"))
        else:
            yield from checks.one_of(Path("volumeBindingMode"), mode, ("Immediate", "WaitForFirstConsumer"))
        yield from _topologies(document)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        for name in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
            yield from checks.fixed(Path(name), document.get(name), old.get(name))


class VolumeAttributesClassStrategy(BuiltinStrategy):
    returns_deleted = True

    def validate(self, document: Document) -> Errors:
        yield from _driver(Path("driverName"), document.get("driverName") or "")
        parameters = document.get("parameters") or {}
        if not parameters:
            yield fields.required(Path("parameters"), "must contain at least one key/value pair")
        yield from _parameters(parameters)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        for name in ("driverName", "parameters"):
            if (document.get(name) or None) != (old.get(name) or None):
                yield fields.forbidden(Path(name), f"updates to {name} are forbidden.")
        yield from self.validate(document)


def _driver(path: Path, name: str) -> Errors:
    if not name:
        yield fields.required(path)
    else:
        yield from checks.named(path, name.lower(), names.qualified_name)


def _parameters(parameters: Mapping[str, str]) -> Errors:
    path = Path("parameters")
    if len(parameters) > _PARAMETERS:
        yield fields.too_long(path, _PARAMETERS)
        return
    for key in parameters:
        if not key:
            yield fields.invalid(path, key, "field can not be empty.")
    if sum(len(key) + len(value) for key, value in parameters.items()) > _PARAMETERS_SIZE:
        yield fields.too_long(path, _PARAMETERS_SIZE)


def _topologies(document: Document) -> Errors:
    terms: list[Mapping[str, Any]] = []
    for position, term in enumerate(document.get("allowedTopologies") or ()):
        here = Path("allowedTopologies").index(position)
        # A term without expressions is like none, and cannot be told from one that was there before.
        if term in terms or not term.get("matchLabelExpressions"):
            yield fields.duplicate(here.child("matchLabelExpressions"), "")
        terms.append(term)
        seen: set[str] = set()
        for index, expression in enumerate(term.get("matchLabelExpressions") or ()):
            spot = here.child("matchLabelExpressions").index(index)
            key, values = expression.get("key") or "", expression.get("values") or ()
            if not values:
                yield fields.required(spot.child("values"))
            yield from checks.duplicates(spot.child("values"), values)
            yield from checks.named(spot.child("key"), key, names.qualified_name)
            if key in seen:
                yield fields.duplicate(spot.child("key"), key)
            seen.add(key)
