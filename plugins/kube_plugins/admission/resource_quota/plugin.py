"""The plugin: every object is charged to the quotas of its namespace before it is stored.

Mirrors upstream's plugin of this name. A quota binds once its status says so: what is used is read from there, and
written back there, in a write that fails if somebody else charged it meanwhile and is then tried on what they left.
What turns out not to be stored stays charged until the controller counts anew, as upstream. The last plugin of all, so
that nothing is charged that another one refuses. What is counted, and how, is in `kube_plugins.quota`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.api.resources import RESOURCE_QUOTAS
from kube_core.meta import quantities
from kube_core.meta.documents import Document, Key, key_of
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import Forbidden, forbidden
from kube_core.registry.context import Attributes
from kube_plugins.admission.resource_quota.charges import Charge, Ledger, take
from kube_plugins.quota.scopes import in_scope
from kube_plugins.quota.usage import IGNORED, Usage, counted_names, usage_of

__all__ = ["ResourceQuota"]

_ZERO = quantities.parse(0)
_PODS = GroupResource("", "pods")
_CLAIMS = GroupResource("", "persistentvolumeclaims")
#: Resources whose objects take more, or less, when they change; of others only their number counts.
_CHANGING = frozenset((_CLAIMS, GroupResource("", "services"), GroupResource("resource.k8s.io", "resourceclaims")))
#: Computing resources that a quota makes every container say.
_TO_BE_SAID = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


class ResourceQuota(AdmissionPlugin):
    name: ClassVar[str] = "ResourceQuota"

    def __init__(self, context: AdmissionContext) -> None:
        super().__init__(context)
        self._ledgers: dict[Key, Ledger] = {}

    async def validate(self, attributes: Attributes) -> None:
        document, old, resource = attributes.object, attributes.old, attributes.resource
        if document is None or not resource.namespaced:
            return
        quotas = list(self.context.reader.list(RESOURCE_QUOTAS, attributes.key.namespace))
        if not quotas or resource.group_resource in IGNORED or not _is_counted(attributes):
            return
        asked = usage_of(resource, document)
        before = usage_of(resource, old) if old is not None else {}
        more = {name: max(amount - before.get(name, _ZERO), _ZERO) for name, amount in asked.items()}
        for quota in quotas:
            names = counted_names(resource, (quota.get("status") or {}).get("hard") or {})
            if names and in_scope(quota, resource, document):
                self._check_known(attributes, quota, names)
                counted = old is not None and in_scope(quota, resource, old)
                await self._charge(attributes, quota, more if counted else asked)

    def _check_known(self, attributes: Attributes, quota: Document, names: Sequence[str]) -> None:
        """Raises `Forbidden` where containers do not say what the quota counts, or nobody has counted yet."""
        if attributes.resource.group_resource == _PODS:
            self._check_said(attributes, quota, names)
        used = (quota.get("status") or {}).get("used") or {}
        if not used.keys() >= set(names):
            why = f"status unknown for quota: {quota['metadata']['name']}, resources: {','.join(names)}"
            raise self._refuse(attributes, why)

    async def _charge(self, attributes: Attributes, quota: Document, asked: Usage) -> None:
        hard = (quota.get("status") or {}).get("hard") or {}
        asked = {name: amount for name, amount in asked.items() if amount and name in hard}
        if not asked:
            return
        # What a status says has happened.
        charge = Charge(asked, limited=attributes.subresource != "status")
        if attributes.dry_run:
            take(quota, [charge])
        else:
            key = key_of(quota)
            ledger = self._ledgers.setdefault(key, Ledger())
            try:
                await ledger.charge(self.context.writer, key, charge)
            finally:
                if ledger.is_idle:
                    self._ledgers.pop(key, None)
        if charge.refusal:
            raise self._refuse(attributes, charge.refusal)

    def _check_said(self, attributes: Attributes, quota: Document, names: Sequence[str]) -> None:
        spec = (attributes.object or {})["spec"]
        if any((spec.get("resources") or {}).get(kind) for kind in ("requests", "limits")):
            return  # the pod says it for all of them
        lacking = list(_unsaid(spec, [name for name in names if name in _TO_BE_SAID]))
        if lacking:
            why = f"failed quota: {quota['metadata']['name']}: must specify {'; '.join(lacking)}"
            raise self._refuse(attributes, why)

    @staticmethod
    def _refuse(attributes: Attributes, why: str) -> Forbidden:
        return forbidden(attributes.resource.group_resource, attributes.key.name, why)


def _is_counted(attributes: Attributes) -> bool:
    """Whether a request may change what an object takes."""
    resource, subresource = attributes.resource.group_resource, attributes.subresource
    document, old = attributes.object or {}, attributes.old
    if attributes.operation == "CREATE":
        return not subresource
    if resource == _PODS and old is not None:
        ends, ended = ("activeDeadlineSeconds" in each["spec"] for each in (document, old))
        return subresource == "resize" or (not subresource and ends != ended)
    if subresource == "status":
        return resource == _CLAIMS
    return not subresource and resource in _CHANGING


def _unsaid(spec: Document, wanted: list[str]) -> Iterator[str]:
    """For each resource the containers that do not say how much of it they need."""
    for name in wanted:
        kind, _, resource = name.rpartition(".")
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        silent = [
            container["name"]
            for container in containers
            if resource not in ((container.get("resources") or {}).get(kind or "requests") or {})
        ]
        if silent:
            yield f"{name} for: {','.join(sorted(silent))}"
