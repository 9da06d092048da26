"""StorageVersionMigrations: that all objects of a resource be written again. Documented under the same name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.conditions import conditions, is_true

__all__ = ["MigrationStrategy"]

SPEC = Path("spec")
CONDITIONS = Path("status").child("conditions")
VERSION = Path("status").child("resourceVersion")


class MigrationStrategy(BuiltinStrategy):
    keeps_generation = True

    def validate(self, document: Document) -> Errors:
        named, path = checks.mapping(document, "spec", "resource"), SPEC.child("resource")
        resource, group = named.get("resource") or "", named.get("group") or ""
        if not resource:
            yield fields.required(path.child("resource"), "resource is required to be set")
        elif problems := names.dns1035_label(resource):
            yield fields.invalid(path.child("resource"), resource, ",".join(problems))
        if group and (problems := names.dns1123_subdomain(group)):
            yield fields.invalid(path.child("group"), group, ",".join(problems))

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        yield from checks.immutable(SPEC, document.get("spec") or {}, old.get("spec") or {})

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status, before = (checks.mapping(each, "status") for each in (document, old))
        yield from _resource_version(status.get("resourceVersion") or "", before.get("resourceVersion") or "")
        listed: list[dict[str, Any]] = status.get("conditions") or []
        yield from conditions(CONDITIONS, listed)
        succeeded, failed = (is_true(listed, kind) for kind in ("Succeeded", "Failed"))
        contradictions = (
            (succeeded and failed, "Both success and failed conditions cannot be true at the same time"),
            (
                is_true(before.get("conditions"), "Succeeded") and not succeeded,
                "Success condition cannot be set to false once it is true",
            ),
            (
                is_true(before.get("conditions"), "Failed") and not failed,
                "Failed condition cannot be set to false once it is true",
            ),
        )
        for wrong, detail in contradictions:
            if wrong:
                yield fields.invalid(CONDITIONS, [dict(each) for each in listed], detail)


def _resource_version(version: str, before: str) -> Errors:
    if version and not (version.isascii() and version.isdecimal() and version[0] != "0"):
        yield fields.invalid(VERSION, version, f"resource version is not well formed: {version}")
    if before and version != before:
        yield fields.invalid(VERSION, version, "field is immutable")
