"""`pods/NAME/eviction`: a deletion that disruption budgets may refuse (429).

The order is upstream's, documented under "API-initiated Eviction". A pod that is finished, waits for a node or is going
already asks no budget. Otherwise the one budget that selects it must allow a disruption more, which is then counted in
its status before the pod is deleted, so that two evictions never spend the same one. A pod that is not ready does not
count among the healthy ones: it goes without spending anything where the budget says so, or where enough others are
healthy, but only if it is still as it was seen.

How many disruptions a budget allows is written into its status by its controller, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kube_core.abc.transport import Request, Response
from kube_core.api.pods import is_ready
from kube_core.api.resources import POD_DISRUPTION_BUDGETS
from kube_core.apiserver import responses
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.subresources.admitting import admit_creation, admitted
from kube_core.apiserver.subresources.pods import CREATED, condition, set_condition
from kube_core.apiserver.verbs import read_shaped
from kube_core.bus.changes import Stored
from kube_core.meta.documents import Document, Key, MutableDocument, metadata_of, thaw
from kube_core.meta.selectors import from_document
from kube_core.meta.status import BadRequest, Conflict, Forbidden, InternalError, StatusError, Timeout, TooManyRequests
from kube_core.meta.times import format_time
from kube_core.registry import options as request_options
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, DeleteOptions, WriteOptions
from kube_core.registry.generic import Registry, Update

__all__ = ["Eviction"]

_ALLOWED = "DisruptionAllowed"
_SCHEMA = "io.k8s.api.policy.v1.Eviction"
#: How many evictions a budget may have open that its controller has not seen yet.
_MAXIMUM_DISRUPTED = 2000
_FINISHED = ("Succeeded", "Failed", "Pending")


@attrs.frozen
class _Leave:
    """A budget lets the pod go. `unchanged`: as long as the pod is what it was."""

    budget: str = ""
    unchanged: bool = False


class Eviction:
    """The handler of `eviction`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        create = request_options.write_options(request, "CreateOptions")
        eviction = read_shaped(request, "policy/v1", "Eviction", context, create.field_validation)
        name = metadata_of(eviction).get("name")
        if name and name != info.name:
            raise BadRequest("name in URL does not match name in Eviction object")
        eviction = await admit_creation(info, registry, context, eviction, create, _SCHEMA)
        context = admitted(context)
        pod = await registry.find(info.key)
        given: Mapping[str, Any] = eviction.get("deleteOptions") or {"kind": "DeleteOptions"}
        leave = _Leave()
        if _counts(pod.document):
            # Budgets come first: what is wrong with the rest is told once they allow it.
            leave = await self._ask_budget(pod, context, dry_run=create.dry_run or bool(given.get("dryRun")))
        options = request_options.delete_options(request, given)
        if create.dry_run:
            options = attrs.evolve(options, dry_run=True)
        own = options
        if leave.unchanged:
            own = attrs.evolve(options, resource_version=options.resource_version or str(pod.revision))
        try:
            await self._delete(registry, info.key, own, context)
        except Conflict:
            if leave.unchanged and options.resource_version is None:
                raise _still_processed(leave.budget) from None
            raise
        return responses.success(request, CREATED, 201)

    async def _delete(self, registry: Registry, key: Key, options: DeleteOptions, context: Context) -> None:
        if not options.dry_run:
            told = await self._tell_why(registry, key, options, context)
            if options.resource_version is not None:
                # It is another one now, by what was just written.
                options = attrs.evolve(options, resource_version=str(told.revision))
        await registry.delete(context, key, options)

    @staticmethod
    async def _tell_why(registry: Registry, key: Key, options: DeleteOptions, context: Context) -> Stored:
        """Write into the pod why it ends: whoever owns it decides by that what to do."""
        why = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}

        async def told(current: Document | None) -> MutableDocument:
            document: MutableDocument = thaw(current)
            _check_preconditions(document, options)
            conditions = document.setdefault("status", {}).setdefault("conditions", [])
            set_condition(conditions, condition("DisruptionTarget", registry.clock.now(), **why))
            return document

        update = Update(WriteOptions(field_manager="kube-apiserver"), "status", applies=True)
        stored, _ = await registry.update(context, key, update, told)
        return stored

    async def _ask_budget(self, pod: Stored, context: Context, *, dry_run: bool) -> _Leave:
        """Raises `TooManyRequests`, and `InternalError` for a pod of two budgets."""
        budgets = self._catalogue.of(POD_DISRUPTION_BUDGETS)
        matching = [
            stored
            for stored in budgets.cache.list(pod.key.namespace)
            if from_document((stored.document.get("spec") or {}).get("selector")).matches(pod.labels)
        ]
        if len(matching) > 1:
            raise InternalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                reason="",
            )
        if not matching:
            return _Leave()
        name = matching[0].key.name
        if not is_ready(pod.document) and _lets_unhealthy_go(matching[0].document):
            return _Leave(name, unchanged=True)
        # A dry run spends nothing, and says what there is to say.
        update = Update(WriteOptions(dry_run=dry_run, field_manager="kube-apiserver"), subresource="status")

        async def disrupted(current: Document | None) -> MutableDocument:
            return _spend(current or {}, pod.key.name, now=budgets.clock.now())

        try:
            await budgets.update(context, matching[0].key, update, disrupted)
        except Conflict:
            why = f'couldn\'t update PodDisruptionBudget "{name}" due to conflicts'
            raise Timeout(f"Timeout: {why}", details={"retryAfterSeconds": 10}) from None
        return _Leave(name)


def _counts(pod: Document) -> bool:
    """Whether a budget is asked: not for pods that are finished, waiting for a node, or going already."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in _FINISHED and "deletionTimestamp" not in pod["metadata"]


def _lets_unhealthy_go(budget: Document) -> bool:
    """Whether a pod that is not ready may go without being counted."""
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    healthy, wanted = status.get("currentHealthy") or 0, status.get("desiredHealthy") or 0
    return bool(healthy >= wanted > 0)


def _spend(budget: Document, pod: str, *, now: float) -> MutableDocument:
    """The budget with one disruption less. Raises `TooManyRequests`, `Forbidden`."""
    name = budget["metadata"]["name"]
    status = budget.get("status") or {}
    allowed = int(status.get("disruptionsAllowed") or 0)
    if (status.get("observedGeneration") or 0) < budget["metadata"].get("generation", 0):
        raise _still_processed(name)
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or ()) > _MAXIMUM_DISRUPTED:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if allowed == 0:
        raise _refused(_why_none(name, status), 0)
    document: MutableDocument = thaw(budget)
    document["status"]["disruptionsAllowed"] = allowed - 1
    if allowed == 1:
        _set_insufficient(document["status"], now)
    document["status"].setdefault("disruptedPods", {})[pod] = format_time(now)
    return document


def _why_none(name: str, status: Mapping[str, Any]) -> str:
    failed = next((each for each in status.get("conditions") or () if each["type"] == _ALLOWED), None)
    if failed is not None and failed.get("status") == "False" and failed.get("reason") == "SyncFailed":
        why = f"because it failed sync: {failed.get('message', '')}"
        return f"The disruption budget {name} does not allow evicting pods currently {why}"
    healthy, wanted = status.get("currentHealthy") or 0, status.get("desiredHealthy") or 0
    if healthy <= wanted:
        return f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
    # More are healthy than must be: others have just been let go, and the controller has yet to see it.
    why = ""
    if failed is not None and failed.get("status") == "False" and failed.get("message"):
        why = f" ({failed.get('reason', '')}): {failed['message']}"
    return f"The disruption budget {name} does not allow evicting pods currently{why}"


def _set_insufficient(status: dict[str, Any], now: float) -> None:
    """This was the last one that the budget allows."""
    conditions: list[dict[str, Any]] = status.setdefault("conditions", [])
    present = next((each for each in conditions if each["type"] == _ALLOWED), None)
    since = format_time(now)
    if present is not None and present.get("status") == "False":
        since = present.get("lastTransitionTime") or since
    new = {
        "type": _ALLOWED,
        "status": "False",
        "observedGeneration": status.get("observedGeneration") or 0,
        "lastTransitionTime": since,
        "reason": "InsufficientPods",
        "message": "",
    }
    set_condition(conditions, new)


def _check_preconditions(pod: Document, options: DeleteOptions) -> None:
    """Raises `Conflict`."""
    metadata = pod["metadata"]
    checks = (("UID", options.uid, metadata["uid"]), ("ResourceVersion", options.resource_version,
                                                      metadata["resourceVersion"]))  # fmt: skip
    for what, wanted, actual in checks:
        if wanted and wanted != actual:
            changed = "deleted and then recreated" if what == "UID" else "modified"
            raise Conflict(
                f'Operation cannot be fulfilled on Pod "{metadata["name"]}": the {what} in the precondition ({wanted}) '
                f"does not match the {what} in record ({actual}). The object might have been {changed}",
                details={"name": metadata["name"], "kind": "Pod"},
            )


def _still_processed(name: str) -> TooManyRequests:
    return _refused(f"The disruption budget {name} is still being processed by the server.", 10)


def _refused(why: str, retry: int) -> TooManyRequests:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry:
        details["retryAfterSeconds"] = retry
    return TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", details=details)


def _forbidden(name: str, why: str) -> StatusError:
    message = f'poddisruptionbudget.policy "{name}" is forbidden: {why}'
    return Forbidden(message, details={"name": name, "group": "policy", "kind": "poddisruptionbudget"})
