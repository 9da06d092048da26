"""Ingresses and IngressClasses. Documented under "Ingress"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors, named
from kube_core.registry.kinds.services.validation import load_balancer_status

__all__ = ["IngressClassStrategy", "IngressStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")


class IngressStrategy(BuiltinStrategy):
    keeps_generation = True

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        yield from _spec(spec)
        annotation = (document["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
        if annotation is not None and spec.get("ingressClassName") not in (None, annotation):
            where = Path("annotations").child(CLASS_ANNOTATION)
            yield fields.invalid(where, annotation, "must match `ingressClassName` when both are specified")

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return _spec(document["spec"])

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status = (document.get("status") or {}).get("loadBalancer") or {}
        return load_balancer_status(Path("status").child("loadBalancer"), status)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        if old is None and CLASS_ANNOTATION in (document["metadata"].get("annotations") or {}):
            return (f"annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead",)
        return ()


class IngressClassStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        parameters = (document.get("spec") or {}).get("parameters")
        if parameters is not None:
            parameters.setdefault("scope", "Cluster")

    def validate(self, document: Document) -> Errors:
        spec = document.get("spec") or {}
        controller = spec.get("controller") or ""
        where = SPEC.child("controller")
        if not controller:
            yield fields.required(where)
        else:
            if len(controller) > 250:
                yield fields.too_long(where, 250)
            yield from named(where, controller, names.domain_prefixed_path)
        if spec.get("parameters") is not None:
            yield from _parameters(SPEC.child("parameters"), spec["parameters"])

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        new, before = document.get("spec") or {}, old.get("spec") or {}
        yield from checks.immutable(SPEC.child("controller"), new.get("controller"), before.get("controller"))


def _spec(spec: Part) -> Errors:
    backend, rules = spec.get("defaultBackend"), spec.get("rules") or ()
    if not rules and backend is None:
        yield fields.invalid(SPEC, None, "either `defaultBackend` or `rules` must be specified")
    if backend is not None:
        yield from _backend(SPEC.child("defaultBackend"), backend)
    for position, rule in enumerate(rules):
        yield from _rule(SPEC.child("rules").index(position), rule)
    for position, tls in enumerate(spec.get("tls") or ()):
        here = SPEC.child("tls").index(position)
        for index, host in enumerate(tls.get("hosts") or ()):
            rule = names.wildcard_dns1123_subdomain if "*" in host else names.dns1123_subdomain
            yield from named(here.child("hosts").index(index), host, rule)
        if tls.get("secretName"):
            yield from named(here.child("secretName"), tls["secretName"], names.dns1123_subdomain)
    if spec.get("ingressClassName") is not None:
        yield from named(SPEC.child("ingressClassName"), spec["ingressClassName"], names.dns1123_subdomain)


def _rule(path: Path, rule: Part) -> Errors:
    host = rule.get("host") or ""
    where = path.child("host")
    if host:
        if not names.ip_address(host):
            yield fields.invalid(where, host, "must be a DNS name, not an IP address")
        if "*" in host:
            yield from named(where, host, names.wildcard_dns1123_subdomain)
        else:
            yield from named(where, host, names.dns1123_subdomain)
    http = rule.get("http")
    if http is None:
        return
    paths = http.get("paths") or ()
    if not paths:
        yield fields.required(path.child("http").child("paths"))
    for position, each in enumerate(paths):
        here = path.child("http").child("paths").index(position)
        yield from _path(here, each)


def _path(path: Path, part: Part) -> Errors:
    kind, text = part.get("pathType"), part.get("path") or ""
    where = path.child("path")
    if kind is None:
        yield fields.required(path.child("pathType"), "pathType must be specified")
        return
    if kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            yield fields.invalid(where, text, "must be an absolute path")
        for sequence in _BAD_SEQUENCES:
            if sequence in text:
                yield fields.invalid(where, text, f"must not contain '{sequence}'")
        for suffix in _BAD_SUFFIXES:
            if text.endswith(suffix):
                yield fields.invalid(where, text, f"cannot end with '{suffix}'")
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            yield fields.invalid(where, text, "must be an absolute path")
    else:
        yield fields.not_supported(path.child("pathType"), kind, PATH_TYPES)
    yield from _backend(path.child("backend"), part.get("backend") or {})


def _backend(path: Path, backend: Part) -> Errors:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        yield fields.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        yield from _reference(path.child("resource"), resource)
    elif service is not None:
        yield from _service(path, service)
    else:
        yield fields.invalid(path, "", "resource or service backend is required")


def _service(path: Path, service: Part) -> Errors:
    name, port = service.get("name") or "", service.get("port") or {}
    here = path.child("service")
    if not name:
        yield fields.required(here.child("name"))
    else:
        yield from named(here.child("name"), name, names.dns1123_label)
    if port.get("name") and port.get("number"):
        yield fields.invalid(path, "", "cannot set both port name & port number")
    elif port.get("name"):
        yield from named(here.child("port").child("name"), port["name"], names.port_name)
    elif port.get("number"):
        yield from checks.port_number(here.child("port").child("number"), port["number"])
    else:
        yield fields.required(path, "port name or number is required")


def _reference(path: Path, part: Part) -> Errors:
    if part.get("apiGroup") is not None:
        yield from named(path.child("apiGroup"), part["apiGroup"], names.dns1123_subdomain)
    for name in ("kind", "name"):
        if not part.get(name):
            yield fields.required(path.child(name))
        else:
            yield from named(path.child(name), part[name], names.path_segment)


def _parameters(path: Path, part: Part) -> Errors:
    yield from _reference(path, part)
    scope, namespace = part.get("scope"), part.get("namespace")
    if scope is None:
        yield fields.required(path.child("scope"))
        return
    yield from checks.one_of(path.child("scope"), scope, ("Cluster", "Namespace"))
    if scope == "Namespace":
        if namespace is None:
            detail = "`parameters.scope` is set to 'Namespace'"
            yield fields.required(path.child("namespace"), detail)
        else:
            yield from named(path.child("namespace"), namespace, names.dns1123_label)
    elif scope == "Cluster" and namespace is not None:
        yield fields.forbidden(path.child("namespace"), "`parameters.scope` is set to 'Cluster'")
