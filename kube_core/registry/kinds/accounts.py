"""ServiceAccounts and Leases: identities, and who holds what for how long. Little to check in either."""

from __future__ import annotations

from kube_core.meta import fields
from kube_core.meta.documents import Document
from kube_core.meta.fields import Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["LeaseStrategy", "ServiceAccountStrategy"]

SPEC = Path("spec")


class ServiceAccountStrategy(BuiltinStrategy):
    returns_deleted = True


class LeaseStrategy(BuiltinStrategy):
    allows_create_on_update = True
    allows_unconditional_update = False

    def validate(self, document: Document) -> Errors:
        spec = document.get("spec") or {}
        yield from checks.positive(SPEC.child("leaseDurationSeconds"), spec.get("leaseDurationSeconds"))
        yield from checks.non_negative(SPEC.child("leaseTransitions"), spec.get("leaseTransitions"))
        if (
            spec.get("strategy") is not None
            and spec["strategy"] != "OldestEmulationVersion"
            and "/" not in spec["strategy"]
        ):
            yield fields.not_supported(SPEC.child("strategy"), spec["strategy"], ["OldestEmulationVersion"])
        if spec.get("preferredHolder") and not spec.get("strategy"):
            detail = "may only be specified if `strategy` is defined"
            yield fields.forbidden(SPEC.child("preferredHolder"), detail)
