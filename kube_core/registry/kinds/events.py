"""Events, in both of their forms: the core group's, and that of `events.k8s.io` with its stricter rules.

The two are one resource with fields of different names; `_NAMES` says how the newer form calls what the rules are
about. Documented under "Event v1" and "Event v1 events.k8s.io".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, namespace_of
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.gvk import GroupKind
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["EventStrategy", "NewEventStrategy"]

_LIMIT = 128
_MESSAGE_LIMIT = 1024

#: From the names that messages use to those of the newer form, where they differ.
_NAMES: Mapping[str, str] = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_IMMUTABLE = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingController",
    "reportingInstance",
)
#: Of these, the ones that are texts.
_TEXTS = frozenset({"reason", "message", "type", "action", "reportingController", "reportingInstance"})
_FIELD_LABELS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)


class EventStrategy(BuiltinStrategy):
    """`v1`."""

    allows_create_on_update = True
    qualifies_finalizers = False
    #: How this form calls the object that it is about, and who reports.
    about = "involvedObject"
    reporter = "reportingComponent"

    def name_rule(self, name: str) -> names.Messages:
        return names.path_segment(name)

    def validate(self, document: Document) -> Errors:
        yield from self._about(document)
        if document.get("eventTime") is not None:
            yield from self._reported(document)

    def field_labels(self) -> Sequence[str]:
        return _FIELD_LABELS

    def fields(self, document: Document) -> Mapping[str, str]:
        about: Mapping[str, Any] = document.get(self.about) or {}
        source = document.get("source") or document.get("deprecatedSource") or {}
        reporter = document.get(self.reporter) or ""
        found = {label: str(about.get(label.partition(".")[2]) or "") for label in _FIELD_LABELS[:7]}
        return {
            **found,
            "reason": document.get("reason") or "",
            "reportingComponent": reporter,
            "source": source.get("component") or reporter,
            "type": document.get("type") or "",
        }

    def _about(self, document: Document) -> Errors:
        namespace, other = namespace_of(document), (document.get(self.about) or {}).get("namespace") or ""
        if document.get("eventTime") is None:
            fits = other == namespace if other else namespace in ("", "default")
        else:
            fits = bool(other) or namespace in ("default", "kube-system")
        if not fits:
            yield fields.invalid(Path("involvedObject").child("namespace"), other, "does not match event.namespace")

    def _reported(self, document: Document) -> Errors:
        reporter = document.get(self.reporter) or ""
        path = Path(self.reporter)
        if not reporter:
            yield fields.required(path)
        yield from checks.named(path, reporter, names.qualified_name)
        for name in ("reportingInstance", "action", "reason"):
            text = document.get(name) or ""
            if not text:
                yield fields.required(Path(name))
            if len(text) > _LIMIT:
                yield fields.invalid(Path(name), "", f"can have at most {_LIMIT} characters")
        if len(document.get("message") or document.get("note") or "") > _MESSAGE_LIMIT:
            yield fields.invalid(Path("message"), "", f"can have at most {_MESSAGE_LIMIT} characters")


class NewEventStrategy(EventStrategy):
    """`events.k8s.io/v1`: the older form's fields stay empty, and nothing but the series changes."""

    about = "regarding"
    reporter = "reportingController"

    @property
    def group_kind(self) -> GroupKind:
        return GroupKind("", "Event")

    def field_labels(self) -> Sequence[str]:
        return tuple(map(self._own_label, super().field_labels()))

    def fields(self, document: Document) -> Mapping[str, str]:
        return {self._own_label(label): value for label, value in super().fields(document).items()}

    @classmethod
    def _own_label(cls, label: str) -> str:
        """The older form's label, by the names of this one."""
        return label.replace("involvedObject.", f"{cls.about}.").replace("reportingComponent", cls.reporter)

    def validate(self, document: Document) -> Errors:
        yield from super().validate(document)
        if document.get("eventTime") is None:
            yield fields.required(Path("eventTime"))
        kind = document.get("type") or ""
        if kind not in ("Normal", "Warning"):
            yield fields.invalid(Path("type"), "", f"has invalid value: {kind}")
        yield from _series(document)
        for name in ("firstTimestamp", "lastTimestamp", "count", "source"):
            if document.get(_NAMES[name]):
                yield fields.invalid(Path(name), "", "needs to be unset")

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        # What both forms want, then what only this one does.
        yield from super().validate(document)
        if document.get("series") != old.get("series"):
            yield from _series(document)
        for name in _IMMUTABLE:
            field = _NAMES.get(name, name)
            new, before = document.get(field), old.get(field)
            if (new or None) != (before or None):
                # A text or number that is gone is shown as what is left of it.
                empty = "" if isinstance(before, str) and name in _TEXTS else 0 if isinstance(before, int) else None
                yield fields.invalid(Path(name), new or empty, checks.IMMUTABLE)


def _series(document: Document) -> Errors:
    series = document.get("series")
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        yield fields.invalid(Path("series").child("count"), "", "should be at least 2")
    if series.get("lastObservedTime") is None:
        yield fields.required(Path("series").child("lastObservedTime"))
