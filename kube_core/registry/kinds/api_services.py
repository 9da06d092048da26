"""APIServices: groups that another server serves. Documented under "Kubernetes API Aggregation Layer"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import Path
from kube_core.meta.times import format_time
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["LOCAL", "APIServiceStrategy"]

SPEC = Path("spec")
#: The condition of a group that this server serves itself.
LOCAL = {
    "type": "Available",
    "status": "True",
    "reason": "Local",
    "message": "Local APIServices are always available",
}


class APIServiceStrategy(BuiltinStrategy):
    allows_unconditional_update = False
    says_once = False

    def name_rule(self, name: str) -> names.Messages:
        return names.path_segment(name)

    def default(self, document: MutableDocument) -> None:
        service = (document.get("spec") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        if (document.get("spec") or {}).get("service") is None:
            now = format_time(self.context.clock.now())
            document["status"] = {"conditions": [{**LOCAL, "lastTransitionTime": now}]}

    def validate(self, document: Document) -> Errors:
        spec, name = document.get("spec") or {}, document["metadata"].get("name") or ""
        group, version = spec.get("group") or "", spec.get("version") or ""
        if name != f"{version}.{group}":
            detail = f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
            yield fields.invalid(Path("metadata").child("name"), name, detail)
        if group:
            yield from checks.named(SPEC.child("group"), group, names.dns1123_subdomain)
        elif version != "v1":
            yield fields.required(SPEC.child("group"), "only v1 may have an empty group and it better be legacy kube")
        yield from checks.named(SPEC.child("version"), version, names.dns1035_label)
        for field, limit in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            priority = spec.get(field) or 0
            if not 0 < priority <= limit:
                yield fields.invalid(SPEC.child(field), priority, f"must be positive and less than {limit}")
        service, bundle = spec.get("service"), spec.get("caBundle")
        if service is None:
            if bundle:
                yield fields.invalid(
                    SPEC.child("caBundle"), "<value omitted>", "local APIServices may not have a caBundle"
                )
            if spec.get("insecureSkipTLSVerify"):
                detail = "local APIServices may not have insecureSkipTLSVerify"
                yield fields.invalid(SPEC.child("insecureSkipTLSVerify"), True, detail)
            return
        yield from _service(SPEC.child("service"), service)
        if bundle and spec.get("insecureSkipTLSVerify"):
            detail = "may not be true if caBundle is present"
            yield fields.invalid(SPEC.child("insecureSkipTLSVerify"), True, detail)


def _service(path: Path, service: Mapping[str, Any]) -> Errors:
    for name in ("namespace", "name"):
        if not service.get(name):
            yield fields.required(path.child(name))
    port = service.get("port") or 0
    for message in names.port_number(port):
        yield fields.invalid(path.child("port"), port, f"port is not valid: {message}")
