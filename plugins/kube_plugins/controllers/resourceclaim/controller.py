"""Makes the device claims that pods ask for by templates, and lets go of those that are used no longer.

The outline; what is to be done is decided in `plan.py`. One queue holds pods and claims: a claim's key has a slash
before its name, which no name has. Mirrors upstream's resourceclaim-controller.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import (
    Document,
    Key,
    controller_of,
    finalizers_of,
    key_of,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from kube_core.meta.status import NotFound, StatusError
from kube_plugins.controllers.resourceclaim.plan import (
    FINALIZER,
    PodPlan,
    claim_names,
    is_done,
    plan_claim,
    plan_pod,
    reserved,
)

__all__ = ["ResourceClaimController"]

_CLAIM = "/"
_BY_CLAIM = "resource-claim"
_BY_TEMPLATE = "resource-claim-template"


class ResourceClaimController(Controller):
    """See the module's docstring."""

    workers = 2

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        informer = context.informers.informer(resources.PODS)
        informer.add_index(_BY_CLAIM, lambda pod: [f"{namespace_of(pod)}/{name}" for name in claim_names(pod)])
        informer.add_index(_BY_TEMPLATE, _templates_of)
        self._pods = informer.lister
        self._claims = context.informers.lister(resources.RESOURCE_CLAIMS)
        self._templates = context.informers.lister(resources.RESOURCE_CLAIM_TEMPLATES)

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.PODS, _keys_of_pod, predicate=_concerns_claims),
            Watch(resources.RESOURCE_CLAIMS, self._keys_of_claim),
            Watch(resources.RESOURCE_CLAIM_TEMPLATES, self._pods_of_template),
        )

    def reads(self) -> Iterable[ResourceType]:
        return (resources.PODS,)

    async def reconcile(self, key: Key) -> Action:
        if key.name.startswith(_CLAIM):
            claim = self._claims.get(Key(key.namespace, key.name.removeprefix(_CLAIM)))
            if claim is not None:
                await self._sync_claim(claim)
        else:
            pod = self._pods.get(key)
            if pod is not None:
                await self._sync_pod(pod)
        return await_change()

    async def _sync_pod(self, pod: Document) -> None:
        namespace = namespace_of(pod)
        templates = {name_of(template): template for template in self._templates.list(namespace)}
        plan = plan_pod(pod, self._claims.list(namespace), templates)
        told = dict(plan.told) | await self._create(pod, plan)
        if told:
            statuses = [{"name": name, "resourceClaimName": claim} for name, claim in sorted(told.items())]
            patch = {"metadata": {"uid": uid_of(pod)}, "status": {"resourceClaimStatuses": statuses}}
            await self.client.patch(
                resources.PODS, name_of(pod), patch, namespace, patch_type="strategic", subresource="status"
            )
        for claim in plan.reserve:
            await self.client.update_status(resources.RESOURCE_CLAIMS, reserved(claim, pod))
        for missing in plan.missing:
            why = f'resource claim template "{missing.template}": resourceclaimtemplate.resource.k8s.io '
            self._tell(pod, missing.claim, f'{why}"{missing.template}" not found')

    async def _create(self, pod: Document, plan: PodPlan) -> dict[str, str]:
        """Make claims; their names by the pod's names for them."""
        made: dict[str, str] = {}
        for name, claim in plan.create.items():
            try:
                made[name] = name_of(await self.client.create(resources.RESOURCE_CLAIMS, claim))
            except StatusError as error:
                self._tell(pod, name, f"create ResourceClaim : {error.message}")
                raise
        return made

    def _tell(self, pod: Document, claim: str, why: str) -> None:
        self.context.events.warning(pod, "FailedResourceClaimCreation", f"PodResourceClaim {claim}: {why}")

    async def _sync_claim(self, claim: Document) -> None:
        entries = (claim.get("status") or {}).get("reservedFor") or ()
        used = [entry for entry in entries if await self._uses(claim, entry)]
        owner = controller_of(claim) or {}
        pod = self._pods.get(Key(namespace_of(claim), str(owner.get("name")))) if owner.get("kind") == "Pod" else None
        changed, released, surplus = plan_claim(claim, lambda entry: entry in used, pod)
        if changed is not None:
            claim = await self.client.update_status(resources.RESOURCE_CLAIMS, changed)
        if released:
            freed = thaw(claim)
            freed["metadata"]["finalizers"] = [each for each in finalizers_of(claim) if each != FINALIZER]
            await self.client.update(resources.RESOURCE_CLAIMS, freed)
        if surplus:
            try:
                await self.client.delete(
                    resources.RESOURCE_CLAIMS, name_of(claim), namespace_of(claim), uid=uid_of(claim)
                )
            except NotFound:
                pass

    async def _uses(self, claim: Document, entry: Document) -> bool:
        """Whether the pod of an entry is there. One that the cache does not have is asked for: it may be new."""
        key = Key(namespace_of(claim), str(entry.get("name")))
        pod = self._pods.get(key)
        if pod is None:
            try:
                pod = await self.client.get(resources.PODS, key.name, key.namespace)
            except NotFound:
                return False
        return uid_of(pod) == entry.get("uid") and not is_done(pod)

    def _keys_of_claim(self, claim: Document) -> Iterable[Key]:
        key = key_of(claim)
        yield Key(key.namespace, f"{_CLAIM}{key.name}")
        for pod in self._pods.by_index(_BY_CLAIM, str(key)):
            yield key_of(pod)

    def _pods_of_template(self, template: Document) -> Iterable[Key]:
        return [key_of(pod) for pod in self._pods.by_index(_BY_TEMPLATE, str(key_of(template)))]


def _templates_of(pod: Document) -> Iterable[str]:
    for each in (pod.get("spec") or {}).get("resourceClaims") or ():
        if each.get("resourceClaimTemplateName"):
            yield f"{namespace_of(pod)}/{each['resourceClaimTemplateName']}"


def _keys_of_pod(pod: Document) -> Iterable[Key]:
    yield key_of(pod)
    for name in claim_names(pod):
        yield Key(namespace_of(pod), f"{_CLAIM}{name}")


def _concerns_claims(before: Document | None, after: Document | None) -> bool:
    return any(pod is not None and bool((pod.get("spec") or {}).get("resourceClaims")) for pod in (before, after))
