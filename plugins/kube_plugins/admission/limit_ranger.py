"""LimitRanger: the LimitRanges of a namespace give containers their default resources, and bounds to everyone.

Mirrors upstream's plugin of this name, documented under "Limit Ranges". What was filled in is told in the annotation
`kubernetes.io/limit-ranger`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta import quantities
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.quantities import Quantity
from kube_core.meta.status import forbidden
from kube_core.registry.context import Attributes

__all__ = ["LimitRanger"]

_RANGES = ResourceType("", "v1", "LimitRange", "limitranges", True)
_ANNOTATION = "kubernetes.io/limit-ranger"

Amounts = Mapping[str, Quantity]


class LimitRanger(AdmissionPlugin):
    name: ClassVar[str] = "LimitRanger"
    resources: ClassVar[frozenset[str]] = frozenset({"pods", "persistentvolumeclaims"})

    async def mutate(self, attributes: Attributes) -> None:
        pod = attributes.object
        if pod is None or attributes.subresource or attributes.operation != "CREATE":
            return
        if attributes.resource.plural != "pods":
            return
        for item in self._items(attributes.key.namespace, "Container"):
            done = list(_fill_in(pod, item))
            if done:
                annotations = pod["metadata"].setdefault("annotations", {})
                annotations[_ANNOTATION] = "LimitRanger plugin set: " + "; ".join(done)

    async def validate(self, attributes: Attributes) -> None:
        document = attributes.object
        # A pod's resources do not change by an ordinary update; a claim's do.
        on_update = attributes.resource.plural == "persistentvolumeclaims"
        if document is None or attributes.subresource or (attributes.operation == "UPDATE" and not on_update):
            return
        errors = [
            error
            for item in self._items(attributes.key.namespace, "")
            for requests, limits in _measured(document, item["type"])
            for error in _broken(item, requests, limits)
        ]
        if errors:
            why = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
            raise forbidden(attributes.resource.group_resource, attributes.key.name, why)

    def _items(self, namespace: str, kind: str) -> Iterator[Document]:
        for limits in self.context.reader.list(_RANGES, namespace):
            for item in limits["spec"].get("limits") or ():
                if not kind or item["type"] == kind:
                    yield item


def _fill_in(pod: MutableDocument, item: Document) -> Iterator[str]:
    """Give every container the defaults that it lacks; tells what was given."""
    for field, title in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(field) or ():
            resources = container.setdefault("resources", {})
            for defaults, kind in ((item.get("defaultRequest"), "request"), (item.get("default"), "limit")):
                lacking = [name for name in sorted(defaults or {}) if name not in (resources.get(f"{kind}s") or {})]
                if lacking:
                    given = {name: (defaults or {})[name] for name in lacking}
                    resources[f"{kind}s"] = {**(resources.get(f"{kind}s") or {}), **given}
                    yield f"{', '.join(lacking)} {kind} for {title} {container['name']}"


def _measured(document: Document, kind: str) -> Iterator[tuple[Amounts, Amounts]]:
    """Requests and limits of what a limit of this kind is about."""
    spec = document["spec"]
    if kind == "PersistentVolumeClaim" and document["kind"] == kind:
        yield _amounts(spec, "requests"), {}
    elif kind == "Container" and document["kind"] == "Pod":
        for field in ("containers", "initContainers"):
            for container in spec.get(field) or ():
                yield _amounts(container, "requests"), _amounts(container, "limits")
    elif kind == "Pod" and document["kind"] == "Pod":
        yield _total(spec, "requests"), _total(spec, "limits")


def _amounts(holder: Document, kind: str) -> Amounts:
    return {name: quantities.parse(value) for name, value in ((holder.get("resources") or {}).get(kind) or {}).items()}


def _total(spec: Document, kind: str) -> Amounts:
    """Of all containers together, or of the init container that wants more."""
    found: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        for name, amount in _amounts(container, kind).items():
            found[name] = found[name] + amount if name in found else amount
    for container in spec.get("initContainers") or ():
        for name, amount in _amounts(container, kind).items():
            if name not in found or found[name] < amount:
                found[name] = amount
    return found


def _broken(item: Document, requests: Amounts, limits: Amounts) -> Iterator[str]:
    """What breaks one item of a LimitRange, in upstream's words."""
    kind = item["type"]
    # A claim has no limits: its request is held to both bounds.
    upper, upper_name = (requests, "request") if kind == "PersistentVolumeClaim" else (limits, "limit")
    for name, text in sorted((item.get("min") or {}).items()):
        bound, asked = quantities.parse(text), requests.get(name)
        if asked is None and kind != "PersistentVolumeClaim":
            yield f"minimum {name} usage per {kind} is {bound}.  No request is specified"
        elif asked is not None and asked < bound:
            yield f"minimum {name} usage per {kind} is {bound}, but request is {asked}"
    for name, text in sorted((item.get("max") or {}).items()):
        bound, asked = quantities.parse(text), upper.get(name)
        if asked is None and kind != "PersistentVolumeClaim":
            yield f"maximum {name} usage per {kind} is {bound}.  No {upper_name} is specified"
        elif asked is not None and bound < asked:
            yield f"maximum {name} usage per {kind} is {bound}, but {upper_name} is {asked}"
    for name, text in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        yield from _over_ratio(kind, name, quantities.parse(text), requests.get(name), limits.get(name))


def _over_ratio(
    kind: str, name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None
) -> Iterator[str]:
    what = f"{name} max limit to request ratio per {kind} is {bound}, but"
    if not request:
        yield f"{what} no request is specified or request is 0"
    elif not limit:
        yield f"{what} no limit is specified or limit is 0"
    elif limit.nano / request.nano > bound.nano / quantities.parse(1).nano:
        yield f"{what} provided ratio is {limit.nano / request.nano:.6f}"
