"""ServiceAccounts and Leases: identities, and who holds what for how long. Little to check in either."""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["LeaseStrategy", "ServiceAccountStrategy"]

SPEC = Path("spec")
_ENFORCED = "kubernetes.io/enforce-mountable-secrets"
_ENFORCED_DEPRECATED = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"


class ServiceAccountStrategy(BuiltinStrategy):
    returns_deleted = True

    def default(self, document: MutableDocument) -> None:
        """Of a reference to a secret only the name counts."""
        for reference in document.get("secrets") or ():
            for name in [each for each in reference if each != "name"]:
                del reference[name]

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        if _ENFORCED not in (document["metadata"].get("annotations") or {}):
            return ()
        if old is not None and _ENFORCED in (old["metadata"].get("annotations") or {}):
            return ()
        return (f"metadata.annotations[{_ENFORCED}]: {_ENFORCED_DEPRECATED}",)


class LeaseStrategy(BuiltinStrategy):
    allows_create_on_update = True
    allows_unconditional_update = False
    qualifies_finalizers = False

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        _drop_coordination(document)

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        _drop_coordination(document)

    def validate(self, document: Document) -> Errors:
        spec = document.get("spec") or {}
        yield from checks.positive(SPEC.child("leaseDurationSeconds"), spec.get("leaseDurationSeconds"))
        yield from checks.non_negative(SPEC.child("leaseTransitions"), spec.get("leaseTransitions"))


def _drop_coordination(document: MutableDocument) -> None:
    """Coordinated leader election is off by default upstream: its fields are not kept."""
    for name in ("strategy", "preferredHolder"):
        document.get("spec", {}).pop(name, None)
