"""The default FlowSchemas and PriorityLevelConfigurations of API Priority and Fairness, kept as they should be.

`exempt` and `catch-all` always are as they should be. The others are made again where they are gone, and put right as
long as their annotation `apf.kubernetes.io/autoupdate-spec` does not say "false"; one without it is put right while
nobody has changed it (its generation is 1). Documented under "API Priority and Fairness", "Defaults".

Which ones there are, and what they say, is the table below; what requests they hold back is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from kube_core._kit.logs import get_logger
from kube_core.admission.chain import Chain
from kube_core.api.resources import FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS
from kube_core.api.types import ResourceType
from kube_core.apiserver.bootstrap import OWN_OPTIONS, OWN_USER, ensure
from kube_core.bus.bus import Interest
from kube_core.bus.changes import Change
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import NotFound, StatusError
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, DeleteOptions
from kube_core.registry.generic import Update

__all__ = ["AUTOUPDATE", "FlowControl", "flow_schemas", "priority_levels"]

_log = get_logger("kube_core.apiserver")
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
_MANDATORY = ("exempt", "catch-all")
_ALL = ("*",)

#: Name, shares, percent that may be lent, and the queues: how many, cards in a hand, length of each (None: refuses).
_LEVELS: Final = (
    ("catch-all", 5, 0, None),
    ("system", 30, 33, (64, 6, 50)),
    ("node-high", 40, 25, (64, 6, 50)),
    ("leader-election", 10, 0, (16, 4, 50)),
    ("workload-high", 40, 50, (128, 6, 50)),
    ("workload-low", 100, 90, (128, 6, 50)),
    ("global-default", 20, 50, (128, 6, 50)),
)

_EVERYBODY = ("group:system:unauthenticated", "group:system:authenticated")
_CONTROLLER_MANAGER, _SCHEDULER = "user:system:kube-controller-manager", "user:system:kube-scheduler"
_LEASES = ("coordination.k8s.io", "leases")
_LEADING = ("get", "create", "update")
#: Everything, of resources and of paths.
_ANYTHING: Final = (
    {"verbs": _ALL, "apiGroups": _ALL, "resources": _ALL, "namespaces": _ALL, "clusterScope": True},
    {"verbs": _ALL, "nonResourceURLs": _ALL},
)


def _resources(verbs: Sequence[str], group: str, *resources: str, cluster: bool = False) -> dict[str, Any]:
    rule = {"verbs": verbs, "apiGroups": (group,), "resources": resources, "namespaces": _ALL}
    return {**rule, "clusterScope": True} if cluster else rule


#: Name, precedence, priority level, how flows are told apart, subjects, rules.
_SCHEMAS: Final = (
    ("exempt", 1, "exempt", "", ("group:system:masters",), _ANYTHING),
    (
        "probes", 2, "exempt", "", _EVERYBODY,
        ({"verbs": ("get",), "nonResourceURLs": ("/healthz", "/readyz", "/livez")},),
    ),
    (
        "system-leader-election", 100, "leader-election", "ByUser", (_CONTROLLER_MANAGER, _SCHEDULER),
        (_resources(_LEADING, *_LEASES),),
    ),
    (
        "endpoint-controller", 150, "workload-high", "ByUser",
        (_CONTROLLER_MANAGER, "account:endpoint-controller", "account:endpointslicemirroring-controller"),
        (_resources(_LEADING, "", "endpoints"),),
    ),
    (
        "workload-leader-election", 200, "leader-election", "ByUser", ("account:*",),
        (_resources(_LEADING, *_LEASES),),
    ),
    (
        "system-node-high", 400, "node-high", "ByUser", ("group:system:nodes",),
        (_resources(_ALL, "", "nodes", "nodes/status", cluster=True), _resources(_ALL, *_LEASES)),
    ),
    ("system-nodes", 500, "system", "ByUser", ("group:system:nodes",), _ANYTHING),
    ("kube-controller-manager", 800, "workload-high", "ByNamespace", (_CONTROLLER_MANAGER,), _ANYTHING),
    ("kube-scheduler", 800, "workload-high", "ByNamespace", (_SCHEDULER,), _ANYTHING),
    ("kube-system-service-accounts", 900, "workload-high", "ByNamespace", ("account:*",), _ANYTHING),
    ("service-accounts", 9000, "workload-low", "ByUser", ("group:system:serviceaccounts",), _ANYTHING),
    ("global-default", 9900, "global-default", "ByUser", _EVERYBODY, _ANYTHING),
    ("catch-all", 10000, "catch-all", "ByUser", _EVERYBODY, _ANYTHING),
)  # fmt: skip


def priority_levels() -> Iterator[MutableDocument]:
    """New objects, as they are to be created."""
    yield _object("exempt", {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}})
    for name, shares, lendable, queues in _LEVELS:
        response: dict[str, Any] = {"type": "Reject"}
        if queues is not None:
            sizes = dict(zip(("queues", "handSize", "queueLengthLimit"), queues, strict=True))
            response = {"type": "Queue", "queuing": sizes}
        limited = {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}
        yield _object(name, {"type": "Limited", "limited": limited})


def flow_schemas() -> Iterator[MutableDocument]:
    """New objects, as they are to be created."""
    for name, precedence, level, distinguished, subjects, rules in _SCHEMAS:
        spec: dict[str, Any] = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence}
        if distinguished:
            spec["distinguisherMethod"] = {"type": distinguished}
        rule: dict[str, Any] = {"subjects": [_subject(each) for each in subjects]}
        for each in rules:
            kind = "nonResourceRules" if "nonResourceURLs" in each else "resourceRules"
            rule.setdefault(kind, []).append(_listed(each))
        yield _object(name, {**spec, "rules": [rule]})


class FlowControl:
    """Keeps them, as a loop of `kube_core.apiserver.following`."""

    resources: ClassVar[Mapping[GroupResource, Interest]] = {
        FLOW_SCHEMAS.group_resource: Interest(),
        PRIORITY_LEVEL_CONFIGURATIONS.group_resource: Interest(),
    }

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        # Levels first: a schema without its level is of no use.
        self._wanted: Mapping[ResourceType, Mapping[str, MutableDocument]] = {
            PRIORITY_LEVEL_CONFIGURATIONS: {each["metadata"]["name"]: each for each in priority_levels()},
            FLOW_SCHEMAS: {each["metadata"]["name"]: each for each in flow_schemas()},
        }

    async def begin_mandatory(self) -> None:
        """The levels and schemas that requests need first: answers name them by their UIDs."""
        for resource in self._wanted:
            for name in _MANDATORY:
                await self._put_right(resource, name)

    async def begin(self) -> None:
        for resource, wanted in self._wanted.items():
            present = [stored.key.name for stored in self._catalogue.of(resource).cache.list()]
            for name in dict.fromkeys([*wanted, *present]):
                await self._put_right(resource, name)

    async def changed(self, resource: GroupResource, changes: Sequence[Change]) -> None:
        kind = next(each for each in self._wanted if each.group_resource == resource)
        for name in {change.key.name: None for change in changes}:
            await self._put_right(kind, name)

    async def _put_right(self, resource: ResourceType, name: str) -> None:
        wanted = self._wanted[resource].get(name)
        registry = self._catalogue.of(resource)
        stored = registry.cache.get(Key("", name))
        try:
            if stored is None:
                if wanted is not None:
                    await ensure(self._catalogue, Chain(), resource, thaw(wanted))
            elif wanted is None:
                # One of an earlier version, which is kept no more.
                if (stored.metadata.get("annotations") or {}).get(AUTOUPDATE) == "true":
                    await registry.delete(Context(OWN_USER, Chain()), stored.key, DeleteOptions())
            elif _put_right(stored.document, wanted) is not None:

                async def changed(current: Document | None) -> MutableDocument:
                    if current is None:
                        raise NotFound("the object is gone")
                    return _put_right(current, wanted) or dict(current)

                await registry.update(Context(OWN_USER, Chain()), stored.key, Update(OWN_OPTIONS), changed)
        except StatusError as error:
            if not isinstance(error, NotFound):
                _log.warning("flow control was not put right", resource=resource.plural, name=name, error=str(error))


def _put_right(present: Document, wanted: Document) -> MutableDocument | None:
    """The object as it should be; None where it is, or where it is somebody else's to say."""
    annotations = dict(present["metadata"].get("annotations") or {})
    mandatory = present["metadata"]["name"] in _MANDATORY
    told = annotations.get(AUTOUPDATE)
    ours = told == "true" if told is not None else present["metadata"].get("generation") == 1
    changed: dict[str, Any] = {}
    if (mandatory or ours) and present.get("spec") != wanted["spec"]:
        changed["spec"] = thaw(wanted["spec"])
    right = "true" if mandatory or ours else "false"
    if told != right and (mandatory or told is None):
        changed["annotations"] = {**annotations, AUTOUPDATE: right}
    if not changed:
        return None
    document: MutableDocument = thaw(present)
    if "annotations" in changed:
        document["metadata"]["annotations"] = changed["annotations"]
    if "spec" in changed:
        document["spec"] = changed["spec"]
    return document


def _object(name: str, spec: dict[str, Any]) -> MutableDocument:
    return {"metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}}, "spec": spec}


def _subject(text: str) -> dict[str, Any]:
    kind, _, name = text.partition(":")
    if kind == "account":
        return {"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}}
    return {"kind": kind.capitalize(), kind: {"name": name}}


def _listed(rule: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists only."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in rule.items()}
