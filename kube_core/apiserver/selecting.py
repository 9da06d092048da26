"""From the selectors of a request to a predicate on stored objects, and to an interest on the bus."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import attrs

from kube_core.bus.bus import Interest
from kube_core.bus.changes import Stored
from kube_core.meta.selectors import FieldSelector, LabelSelector, SelectorError, parse_fields, parse_labels
from kube_core.meta.status import BadRequest
from kube_core.registry.generic import Registry

__all__ = ["Selection", "select"]


@attrs.frozen
class Selection:
    """What a list or watch is about."""

    namespace: str
    labels: LabelSelector | None
    fields: FieldSelector | None
    #: Requirements of equality on the kind's own fields.
    equal: Mapping[str, str]
    registry: Registry

    @property
    def everything(self) -> bool:
        return self.labels is None and self.fields is None

    @property
    def name(self) -> str:
        """The one name that can match, or ""."""
        return _equal(self.fields, "metadata.name") or ""

    def matches(self, stored: Stored) -> bool:
        """Whether labels and fields match; the namespace is the caller's."""
        if self.labels is not None and not self.labels.matches(stored.labels):
            return False
        return self.fields is None or self.fields.matches(self._fields(stored))

    def interest(self) -> Interest:
        # The bus knows the values of index fields only; the predicate asks for all others.
        indexed = {name: self.equal[name] for name in self.registry.strategy.index_fields() if name in self.equal}
        return Interest(
            namespace=self.namespace,
            name=self.name,
            fields=indexed,
            predicate=None if self.everything else self.matches,
        )

    def _fields(self, stored: Stored) -> Mapping[str, str]:
        found = {"metadata.name": stored.key.name, "metadata.namespace": stored.key.namespace}
        if self.fields is not None and any(not name.startswith("metadata.") for name in self.fields.fields):
            found.update(self.registry.strategy.fields(self.registry.shown(stored).document))
        return found


def select(
    registry: Registry, namespace: str, label_selector: str, field_selector: str, *, only: str = ""
) -> Selection:
    """`only`: the name of the one object that is asked for. Raises `BadRequest`."""
    if only:
        if field_selector and _equal(_fields(field_selector), "metadata.name") != only:
            raise BadRequest("fieldSelector metadata.name doesn't match requested name")
        field_selector = f"metadata.name={only}"
    labels = _labels(label_selector) if label_selector else None
    fields = _fields(field_selector) if field_selector else None
    equal: dict[str, str] = {}
    if fields is not None:
        known = registry.strategy.field_labels()
        for name in fields.fields:
            if name in ("metadata.name", "metadata.namespace"):
                continue
            if name not in known:
                raise BadRequest(_unsupported(name, own_labels=bool(known)))
            value = _equal(fields, name)
            if value is not None:
                equal[name] = value
        if not namespace and registry.type.namespaced:
            namespace = _equal(fields, "metadata.namespace") or ""
    return Selection(namespace, labels, fields, equal, registry)


def _unsupported(name: str, *, own_labels: bool) -> str:
    if own_labels:
        return f"field label not supported: {name}"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _equal(fields: FieldSelector | None, name: str) -> str | None:
    if fields is None:
        return None
    return next((value for field, value in fields.equalities if field == name), None)


@lru_cache(maxsize=512)
def _labels(text: str) -> LabelSelector | None:
    try:
        selector = parse_labels(text)
    except SelectorError as error:
        raise BadRequest(str(error)) from None
    return None if selector.is_everything else selector


@lru_cache(maxsize=512)
def _fields(text: str) -> FieldSelector | None:
    try:
        selector = parse_fields(text)
    except SelectorError as error:
        raise BadRequest(str(error)) from None
    return None if selector.is_everything else selector
