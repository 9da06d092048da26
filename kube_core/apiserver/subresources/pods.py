"""Binding: what puts a pod on a node."""

from __future__ import annotations

from typing import Any

from kube_core._kit.clock import Clock
from kube_core.abc.transport import Request, Response
from kube_core.api.types import ResourceType
from kube_core.apiserver import responses
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.subresources.admitting import admit_creation
from kube_core.apiserver.verbs import read_shaped
from kube_core.meta import fields
from kube_core.meta.documents import Document, FrozenDict, Key, MutableDocument, metadata_of
from kube_core.meta.fields import Path
from kube_core.meta.gvk import GroupKind
from kube_core.meta.status import BadRequest, Conflict, invalid
from kube_core.meta.times import format_time
from kube_core.registry import options as request_options
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, WriteOptions
from kube_core.registry.generic import Registry, Update

__all__ = ["CREATED", "Binding", "condition", "set_condition"]

CREATED: dict[str, Any] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": 201,
}
_PODS = ResourceType("", "v1", "Pod", "pods", True)

_BINDING = "io.k8s.api.core.v1.Binding"


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
        binding = await admit_creation(info, registry, context, binding, options, _BINDING)
        pods = self._catalogue.of(_PODS)
        # Nobody owns what a binding writes, as upstream has it.
        own = WriteOptions(options.dry_run, options.field_manager)
        update = Update(own, subresource="binding", applies=True, admitted=False)

        async def bound(current: Document | None) -> MutableDocument:
            return self._bound(current or {}, name, binding, str((binding.get("target") or target)["name"]))

        await pods.update(context, Key(info.namespace, name), update, bound)
        return responses.success(request, CREATED, 201)

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
        metadata = {**current["metadata"]}
        for field in ("annotations", "labels"):
            given = metadata_of(binding).get(field)
            if given:
                metadata[field] = {**(metadata.get(field) or {}), **given}
        state = {**(current.get("status") or {})}
        state["conditions"] = [{**each} for each in state.get("conditions") or ()]
        set_condition(state["conditions"], condition("PodScheduled", self._clock.now()))
        # The rest of the spec is complete, and stays the very one that is stored.
        spec = FrozenDict({**current["spec"], "nodeName": node})
        return {**current, "metadata": metadata, "spec": spec, "status": state}


def condition(kind: str, now: float, **more: str) -> dict[str, Any]:
    """A condition of a pod that holds since now."""
    return {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": format_time(now), **more}


def set_condition(conditions: list[dict[str, Any]], new: dict[str, Any]) -> None:
    """Put a condition in the place of the one of its type."""
    present = next((each for each in conditions if each["type"] == new["type"]), None)
    if present is None:
        conditions.append(new)
    else:
        present.clear()
        present.update(new)


def _binding_conflict(name: str, why: str) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on pods/binding "{name}": {why}',
        details={"name": name, "kind": "pods/binding"},
    )
