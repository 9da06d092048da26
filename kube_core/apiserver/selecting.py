"""From the selectors of a request to a predicate on stored objects, and to an interest on the bus.

A field of a custom resource is that of the version asked for. Where only a webhook knows what an object is in that
version, the bus cannot tell whom a change concerns: such a watch hears of all changes that could, and chooses among
them (`chosen`) once they are converted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import attrs

from kube_core.bus.bus import Interest
from kube_core.bus.changes import Change, Stored
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

    @property
    def asks(self) -> bool:
        """Whether what matches is known only when objects are converted by a webhook."""
        return self.registry.asks and self._own_fields

    def matches(self, stored: Stored) -> bool:
        """Whether labels and fields match; the namespace is the caller's."""
        return self._labels_match(stored) and (
            self.fields is None or self.fields.matches(self._fields(stored, self.registry.shown(stored)))
        )

    async def among(self, items: Sequence[Stored]) -> Sequence[Stored]:
        """Those that match. Raises `StatusError` where a webhook does not convert them."""
        if self.everything:
            return items
        if not self.asks:
            return [stored for stored in items if self.matches(stored)]
        items = [stored for stored in items if self._labels_match(stored)]
        return [stored for stored, matches in zip(items, await self._matching(items), strict=True) if matches]

    async def chosen(self, changes: Iterable[Change]) -> list[tuple[str, Change]]:
        """The changes that concern who `asks`, each with what it is for him: ADDED, MODIFIED or DELETED."""
        changes = list(changes)
        forms = [form for change in changes for form in (change.before, change.after) if form is not None]
        matches = dict(zip(map(id, forms), await self._matching(forms), strict=True))
        found = []
        for change in changes:
            was, now = (matches.get(id(form), False) for form in (change.before, change.after))
            if was or now:
                found.append(("DELETED" if not now else "MODIFIED" if was else "ADDED", change))
        return found

    def interest(self) -> Interest:
        if self.asks:
            return Interest(namespace=self.namespace, name=self.name)
        # The bus knows the values of index fields only; the predicate asks for all others.
        indexed = {name: self.equal[name] for name in self.registry.strategy.index_fields() if name in self.equal}
        return Interest(
            namespace=self.namespace,
            name=self.name,
            fields=indexed,
            predicate=None if self.everything else self.matches,
        )

    @property
    def _own_fields(self) -> bool:
        return self.fields is not None and any(not name.startswith("metadata.") for name in self.fields.fields)

    def _labels_match(self, stored: Stored) -> bool:
        return self.labels is None or self.labels.matches(stored.labels)

    def _fields(self, stored: Stored, shown: Stored) -> Mapping[str, str]:
        found = {"metadata.name": stored.key.name, "metadata.namespace": stored.key.namespace}
        if self._own_fields:
            found.update(self.registry.strategy.fields(shown.document))
        return found

    async def _matching(self, items: Sequence[Stored]) -> list[bool]:
        shown = await self.registry.present_all(items)
        return [
            self._labels_match(stored) and (self.fields is None or self.fields.matches(self._fields(stored, form)))
            for stored, form in zip(items, shown, strict=True)
        ]


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
