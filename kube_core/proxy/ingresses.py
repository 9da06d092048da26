"""From Ingresses to the route table of an ingress driver, and to the address in their status. Pure.

An Ingress is ours when its class (`spec.ingressClassName`, or the older annotation `kubernetes.io/ingress.class`)
names an IngressClass with our controller, or when it has no class at all. Rules and default backends mean what
upstream documents: a rule without paths sends its whole host to the Ingress's default backend; of several default
backends for everything else the oldest Ingress's is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from kube_core.abc.ingress import Backend, IngressAddress, Route, RouteTable
from kube_core.meta.documents import Document, Key, MutableDocument, annotations_of, key_of, metadata_of, name_of
from kube_core.proxy.services import endpoints_of_port

__all__ = [
    "CONTROLLER",
    "DEFAULT_CLASS_ANNOTATION",
    "ingress_class",
    "is_ours",
    "load_balancer_status",
    "route_table",
]

#: `spec.controller` of the IngressClasses that the built-in ingress serves.
CONTROLLER = "kube-core.dev/ingress"

DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"

FindService = Callable[[Key], Document | None]
FindSlices = Callable[[Key], Iterable[Document]]


def ingress_class(name: str = "kube-core") -> MutableDocument:
    """The IngressClass that a cluster with an ingress creates, as the default one."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "annotations": {DEFAULT_CLASS_ANNOTATION: "true"}},
        "spec": {"controller": CONTROLLER},
    }


def is_ours(ingress: Document, classes: Iterable[Document], *, controller: str = CONTROLLER) -> bool:
    """Whether an Ingress is for the ingress controller of this name."""
    wanted = (ingress.get("spec") or {}).get("ingressClassName") or annotations_of(ingress).get(_CLASS_ANNOTATION)
    if not wanted:
        return True
    return any(name_of(known) == wanted and known["spec"].get("controller") == controller for known in classes)


def route_table(ingresses: Iterable[Document], service: FindService, slices: FindSlices) -> RouteTable:
    """The routes of these Ingresses. `service` and `slices` find a Service by key, and its EndpointSlices."""
    routes: list[Route] = []
    default: Backend | None = None
    for ingress in sorted(ingresses, key=_age):
        key = key_of(ingress)
        spec = ingress.get("spec") or {}
        own_default = _backend(key, spec.get("defaultBackend"), service, slices)
        if default is None:
            default = own_default
        for rule in spec.get("rules") or ():
            routes.extend(_routes(key, rule, own_default, service, slices))
    return RouteTable(tuple(routes), default)


def load_balancer_status(addresses: Sequence[IngressAddress]) -> MutableDocument:
    """`status.loadBalancer` of an Ingress that is served at these addresses."""
    ingress: list[MutableDocument] = []
    for address in addresses:
        item: MutableDocument = {"ip": address.ip} if address.ip else {"hostname": address.hostname}
        item["ports"] = [{"port": port, "protocol": "TCP"} for port in address.ports]
        ingress.append(item)
    return {"ingress": ingress} if ingress else {}


def _age(ingress: Document) -> tuple[str, Key]:
    return str(metadata_of(ingress).get("creationTimestamp") or ""), key_of(ingress)


def _routes(
    key: Key, rule: Document, default: Backend | None, service: FindService, slices: FindSlices
) -> Iterator[Route]:
    host = str(rule.get("host") or "")
    paths = (rule.get("http") or {}).get("paths") or ()
    if not paths and default is not None:
        yield Route(host, "/", "Prefix", default, str(key))
    for item in paths:
        backend = _backend(key, item.get("backend"), service, slices)
        if backend is not None:
            path_type = str(item.get("pathType") or "ImplementationSpecific")
            yield Route(host, str(item.get("path") or "/"), path_type, backend, str(key))


def _backend(key: Key, backend: Document | None, service: FindService, slices: FindSlices) -> Backend | None:
    """None for no backend, and for one that is a resource rather than a service."""
    reference = (backend or {}).get("service")
    if not reference:
        return None
    name = str(reference.get("name") or "")
    wanted = reference.get("port") or {}
    service_key = Key(key.namespace, name)
    shown = str(wanted.get("name") or wanted.get("number") or "")
    found = service(service_key)
    for port in ((found or {}).get("spec") or {}).get("ports") or ():
        named = wanted.get("name")
        if port.get("name") == named if named else port.get("port") == wanted.get("number"):
            assert found is not None
            return Backend(key.namespace, name, shown, endpoints_of_port(found, port, slices(service_key)))
    return Backend(key.namespace, name, shown)
