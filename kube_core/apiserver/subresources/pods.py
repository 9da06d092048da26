"""What is done to pods: binding to a node, and eviction."""

from __future__ import annotations

from typing import Any

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.transport import Request, Response
from kube_core.api.types import ResourceType
from kube_core.apiserver import responses
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.verbs import read_shaped
from kube_core.meta import fields
from kube_core.meta.documents import Document, Key, MutableDocument, metadata_of, thaw
from kube_core.meta.fields import Path
from kube_core.meta.gvk import GroupKind
from kube_core.meta.selectors import from_document
from kube_core.meta.status import BadRequest, Conflict, InternalError, TooManyRequests, invalid
from kube_core.meta.times import format_time
from kube_core.registry import options as request_options
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, DeleteOptions, WriteOptions
from kube_core.registry.generic import Registry, Update

__all__ = ["Binding", "Eviction"]

_CREATED: dict[str, Any] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": 201,
}
_BUDGETS = ResourceType("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True)
_PODS = ResourceType("", "v1", "Pod", "pods", True)


class Binding:
    """`pods/NAME/binding` and `bindings`: says on which node a pod runs, once."""

    def __init__(self, clock: Clock, catalogue: Catalogue) -> None:
        self._clock = clock
        self._catalogue = catalogue

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        options = request_options.write_options(request, "CreateOptions")
        binding = read_shaped(request, "v1", "Binding", context, options.field_validation)
        name = info.name or str(metadata_of(binding).get("name") or "")
        if info.name and metadata_of(binding).get("name") not in (None, "", info.name):
            raise BadRequest("name in URL does not match name in Binding object")
        target = binding.get("target") or {}
        errors = []
        if target.get("kind") not in (None, "", "Node", "Minion"):
            path = Path("target").child("kind")
            errors.append(fields.not_supported(path, target["kind"], ["Node", "<empty>"]))
        if not target.get("name"):
            errors.append(fields.required(Path("target").child("name")))
        if errors:
            raise invalid(GroupKind("", "Binding"), name, errors)
        pods = self._catalogue.of(_PODS)
        # Nobody owns what a binding writes, as upstream has it.
        update = Update(WriteOptions(options.dry_run, options.field_manager), subresource="binding", applies=True)

        async def bound(current: Document | None) -> MutableDocument:
            return self._bound(current or {}, name, binding, str(target["name"]))

        await pods.update(context, Key(info.namespace, name), update, bound)
        return responses.success(request, _CREATED, 201)

    def _bound(self, current: Document, name: str, binding: Document, node: str) -> MutableDocument:
        if metadata_of(current).get("deletionTimestamp"):
            raise _binding_conflict(name, f"pod {name} is being deleted, cannot be assigned to a host")
        present = (current.get("spec") or {}).get("nodeName")
        if present:
            raise _binding_conflict(name, f'pod {name} is already assigned to node "{present}"')
        gates = (current.get("spec") or {}).get("schedulingGates")
        if gates:
            raise _binding_conflict(name, f"pod {name} has non-empty .spec.schedulingGates")
        uid = metadata_of(binding).get("uid")
        if uid and uid != current["metadata"]["uid"]:
            raise Conflict(
                f'Operation cannot be fulfilled on pods/binding "{name}": Precondition failed: UID in precondition: '
                f"{uid}, UID in object meta: {current['metadata']['uid']}",
                details={"name": name, "kind": "pods/binding"},
            )
        document: MutableDocument = thaw(current)
        document["spec"]["nodeName"] = node
        annotations = metadata_of(binding).get("annotations")
        if annotations:
            document["metadata"].setdefault("annotations", {}).update(annotations)
        labels = metadata_of(binding).get("labels")
        if labels:
            document["metadata"].setdefault("labels", {}).update(labels)
        conditions: list[dict[str, Any]] = document.setdefault("status", {}).setdefault("conditions", [])
        _set_condition(conditions, _condition("PodScheduled", self._clock.now()))
        return document


def _condition(kind: str, now: float, **more: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": format_time(now), **more}


def _set_condition(conditions: list[dict[str, Any]], condition: dict[str, Any]) -> None:
    present = next((each for each in conditions if each["type"] == condition["type"]), None)
    if present is None:
        conditions.append(condition)
    else:
        present.clear()
        present.update(condition)


def _binding_conflict(name: str, why: str) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on pods/binding "{name}": {why}',
        details={"name": name, "kind": "pods/binding"},
    )


class Eviction:
    """`pods/NAME/eviction`: a deletion that disruption budgets may refuse (429)."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        create = request_options.write_options(request, "CreateOptions")
        eviction = read_shaped(request, "policy/v1", "Eviction", context, create.field_validation)
        name = metadata_of(eviction).get("name")
        if name and name != info.name:
            raise BadRequest("name in URL does not match name in Eviction object")
        pod = (await registry.find(info.key)).document
        given = eviction.get("deleteOptions") or {"kind": "DeleteOptions"}
        if self._counts(pod):
            # Budgets come first: what is wrong with the rest is told once they allow it.
            await self._use_budget(pod, context, dry_run=create.dry_run or bool(given.get("dryRun")))
        options = request_options.delete_options(request, given)
        if create.dry_run:
            options = attrs.evolve(options, dry_run=True)
        if not options.dry_run:
            await self._tell_why(registry, info.key, options, context)
        await registry.delete(context, info.key, options)
        return responses.success(request, _CREATED, 201)

    @staticmethod
    async def _tell_why(registry: Registry, key: Key, options: DeleteOptions, context: Context) -> None:
        """Write into the pod why it ends: whoever owns it decides by that what to do."""
        why = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}

        async def told(current: Document | None) -> MutableDocument:
            document: MutableDocument = thaw(current)
            conditions = document.setdefault("status", {}).setdefault("conditions", [])
            _set_condition(conditions, _condition("DisruptionTarget", registry.clock.now(), **why))
            return document

        update = Update(WriteOptions(field_manager="kube-apiserver"), "status", applies=True, uid=options.uid or "")
        await registry.update(context, key, update, told)

    @staticmethod
    def _counts(pod: Document) -> bool:
        """Whether a budget is asked: not for pods that are finished, waiting for a node, or going already."""
        phase = (pod.get("status") or {}).get("phase")
        return phase not in ("Succeeded", "Failed", "Pending") and "deletionTimestamp" not in pod["metadata"]

    async def _use_budget(self, pod: Document, context: Context, *, dry_run: bool) -> None:
        budgets = self._catalogue.of(_BUDGETS)
        namespace = str(pod["metadata"]["namespace"])
        labels = pod["metadata"].get("labels") or {}
        matching = [
            stored
            for stored in budgets.cache.list(namespace)
            if from_document((stored.document.get("spec") or {}).get("selector")).matches(labels)
        ]
        if len(matching) > 1:
            raise InternalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                reason="",
            )
        if not matching:
            return
        update = Update(WriteOptions(dry_run=dry_run, field_manager="kube-apiserver"), subresource="status")

        async def disrupted(current: Document | None) -> MutableDocument:
            return _spend(current or {}, str(pod["metadata"]["name"]), now=budgets.clock.now())

        await budgets.update(context, matching[0].key, update, disrupted)


def _spend(budget: Document, pod: str, *, now: float) -> MutableDocument:
    """The budget with one disruption less. Raises `TooManyRequests`."""
    name = budget["metadata"]["name"]
    status = budget.get("status") or {}
    allowed = int(status.get("disruptionsAllowed") or 0)
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _refused(name, f"The disruption budget {name} is still being processed by the server.", 10)
    if allowed <= 0:
        healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise _refused(name, f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently", 0)
    document: MutableDocument = thaw(budget)
    document["status"]["disruptionsAllowed"] = allowed - 1
    document["status"].setdefault("disruptedPods", {})[pod] = format_time(now)
    return document


def _refused(name: str, why: str, retry: int) -> TooManyRequests:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry:
        details["retryAfterSeconds"] = retry
    return TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", details=details)
