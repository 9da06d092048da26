"""NetworkPolicies. Documented under "Network Policies"."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import Path, generated
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["NetworkPolicyStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
TYPES = ("Ingress", "Egress")
PROTOCOLS = ("TCP", "UDP", "SCTP")


class NetworkPolicyStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        spec = document.setdefault("spec", {})
        spec.setdefault("podSelector", {})
        for direction in ("ingress", "egress"):
            for rule in spec.get(direction, ()):
                for port in rule.get("ports", ()):
                    port.setdefault("protocol", "TCP")
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]

    def validate(self, document: Document) -> Errors:
        return self._spec(document["spec"], frozenset())

    def validate_update(self, document: Document, old: Document) -> Errors:
        return self._spec(document["spec"], frozenset(_networks(old["spec"])))

    def _spec(self, spec: Part, known: Collection[str]) -> Errors:
        yield from checks.label_selector(SPEC.child("podSelector"), spec.get("podSelector"))
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for position, rule in enumerate(spec.get(direction) or ()):
                here = SPEC.child(direction).index(position)
                for index, port in enumerate(rule.get("ports") or ()):
                    yield from _port(here.child("ports").index(index), port)
                for index, peer in enumerate(rule.get(peers) or ()):
                    yield from _peer(here.child(peers).index(index), peer, known)
        types: Sequence[str] = spec.get("policyTypes") or ()
        where = SPEC.child("policyTypes")
        if len(types) > 2:
            yield fields.invalid(where, list(types), "may not specify more than two policyTypes")
            return
        for position, kind in enumerate(types):
            yield from checks.one_of(where.index(position), kind, TYPES, ordered=True)


def _networks(spec: Part) -> Iterator[str]:
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction) or ():
            for peer in rule.get(peers) or ():
                block = peer.get("ipBlock") or {}
                yield from filter(None, (block.get("cidr"), *(block.get("except") or ())))


def _port(path: Path, part: Part) -> Errors:
    protocol, port, end = part.get("protocol"), part.get("port"), part.get("endPort")
    if protocol is not None:
        yield from checks.one_of(path.child("protocol"), protocol, PROTOCOLS, ordered=True)
    where = path.child("endPort")
    if port is None:
        if end is not None:
            yield fields.invalid(where, end, "may not be specified when `port` is not specified")
        return
    if isinstance(port, str) and end is not None:
        yield fields.invalid(where, end, "may not be specified when `port` is non-numeric")
    yield from checks.port(path.child("port"), port)
    if end is not None and not isinstance(port, str):
        if end < port:
            yield fields.invalid(where, end, "must be greater than or equal to `port`")
        yield from checks.port_number(where, end)


def _peer(path: Path, peer: Part, known: Collection[str]) -> Errors:
    count = 0
    for name in ("podSelector", "namespaceSelector"):
        if peer.get(name) is not None:
            count += 1
            yield from checks.label_selector(path.child(name), peer[name])
    block = peer.get("ipBlock")
    if block is not None:
        yield from _block(path.child("ipBlock"), block, known)
        if count:
            yield fields.forbidden(path, "may not specify both ipBlock and another peer")
    elif not count:
        yield fields.required(path, "must specify a peer")


def _block(path: Path, block: Part, known: Collection[str]) -> Errors:
    """`known`: networks that were there before, and are let be whatever they are."""
    text = block.get("cidr") or ""
    if not text:
        yield from generated([fields.required(path.child("cidr"))])
        return
    messages = names.cidr(text) if text not in known else ()
    for message in messages:
        yield fields.invalid(path.child("cidr"), text, message)
    for position, each in enumerate(block.get("except") or ()):
        here = path.child("except").index(position)
        wrong = names.cidr(each) if each not in known else ()
        for message in wrong:
            yield fields.invalid(here, each, message)
        try:
            whole, part = (ipaddress.ip_network(network, strict=False) for network in (text, each))
        except ValueError:
            continue
        inside = whole.version == part.version and part.prefixlen > whole.prefixlen
        if not (inside and part.network_address in whole):
            yield fields.invalid(here, each, "must be a strict subset of `cidr`")
