"""The plugin: every object is charged to the quotas of its namespace before it is stored.

Mirrors upstream's plugin of this name. A quota binds once its status says so: what is used is read from there, and
written back there, in a write that fails if somebody else charged it meanwhile and is then tried on what they left.
What turns out not to be stored stays charged until the controller counts anew, as upstream. The last plugin of all, so
that nothing is charged that another one refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta import quantities
from kube_core.meta.documents import Document, MutableDocument, key_of, thaw
from kube_core.meta.quantities import Quantity
from kube_core.meta.status import Forbidden, forbidden
from kube_core.registry.context import Attributes
from kube_plugins.admission.resource_quota.scopes import in_scope
from kube_plugins.admission.resource_quota.usage import Usage, usage_of

__all__ = ["ResourceQuota"]

_QUOTAS = ResourceType("", "v1", "ResourceQuota", "resourcequotas", True)
_ZERO = quantities.parse(0)
#: Computing resources that a quota makes every container say.
_TO_BE_SAID = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


class ResourceQuota(AdmissionPlugin):
    name: ClassVar[str] = "ResourceQuota"

    async def validate(self, attributes: Attributes) -> None:
        document, old = attributes.object, attributes.old
        if document is None or attributes.subresource or not attributes.resource.namespaced:
            return
        quotas = list(self.context.reader.list(_QUOTAS, attributes.key.namespace))
        if not quotas or attributes.resource.plural == "events":
            return
        asked = usage_of(attributes.resource, document)
        if old is not None:
            before = usage_of(attributes.resource, old)
            asked = {name: amount - before.get(name, _ZERO) for name, amount in asked.items()}
            asked = {name: amount for name, amount in asked.items() if amount > _ZERO}
        for quota in quotas:
            if in_scope(quota, attributes.resource.plural, document):
                await self._charge(attributes, quota, asked)

    async def _charge(self, attributes: Attributes, quota: Document, asked: Usage) -> None:
        hard = (quota.get("status") or {}).get("hard") or {}
        if attributes.operation == "CREATE" and attributes.resource.plural == "pods":
            self._check_said(attributes, quota, hard)
        if not any(name in hard for name in asked):
            return

        async def charged(current: Document | None) -> MutableDocument:
            return self._charged(attributes, current or quota, asked)

        if attributes.dry_run:
            await charged(quota)
        else:
            await self.context.writer.update(_QUOTAS, key_of(quota), charged, subresource="status")

    def _charged(self, attributes: Attributes, quota: Document, asked: Usage) -> MutableDocument:
        """The quota with what is asked for added. Raises `Forbidden` where that is too much."""
        status = quota.get("status") or {}
        hard: dict[str, Quantity] = {
            name: quantities.parse(text) for name, text in (status.get("hard") or {}).items() if name in asked
        }
        used = {name: quantities.parse((status.get("used") or {}).get(name, 0)) for name in hard}
        over = sorted(name for name in hard if hard[name] < used[name] + asked[name])
        if over:
            why = (
                f"exceeded quota: {quota['metadata']['name']}, requested: {_shown(asked, over)}, "
                f"used: {_shown(used, over)}, limited: {_shown(hard, over)}"
            )
            raise self._refuse(attributes, why)
        document: MutableDocument = thaw(quota)
        counted: dict[str, Any] = document.setdefault("status", {}).setdefault("used", {})
        counted.update({name: str(used[name] + asked[name]) for name in hard})
        return document

    def _check_said(self, attributes: Attributes, quota: Document, hard: Document) -> None:
        wanted = [name for name in sorted(hard) if name in _TO_BE_SAID]
        lacking = list(_unsaid((attributes.object or {})["spec"], wanted))
        if lacking:
            why = f"failed quota: {quota['metadata']['name']}: must specify {'; '.join(lacking)}"
            raise self._refuse(attributes, why)

    @staticmethod
    def _refuse(attributes: Attributes, why: str) -> Forbidden:
        return forbidden(attributes.resource.group_resource, attributes.key.name, why)


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


def _shown(amounts: Usage, names: list[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names)
