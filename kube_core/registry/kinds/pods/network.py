"""What a pod says of its names and its resolver: DNS policy and configuration, host aliases, host name.

Documented under "DNS for Services and Pods".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors, ip, named, one_of

__all__ = ["dns_config", "dns_policy", "host_aliases", "hostname_override"]

DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_NAMESERVERS = 3
_SEARCH_PATHS = 32
_SEARCH_LENGTH = 2048
_HOSTNAME = 64


def dns_policy(path: Path, policy: str) -> Errors:
    if not policy:
        yield fields.required(path)
    else:
        yield from one_of(path, policy, DNS_POLICIES, ordered=True)


def dns_config(path: Path, config: Mapping[str, Any] | None, policy: str) -> Errors:
    if policy == "None":
        if config is None:
            yield fields.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield fields.required(path.child("nameservers"), detail)
            return
    if not config:
        return
    servers: Sequence[str] = config.get("nameservers") or ()
    if len(servers) > _NAMESERVERS:
        detail = f"must not have more than {_NAMESERVERS} nameservers"
        yield fields.invalid(path.child("nameservers"), list(servers), detail)
    for position, server in enumerate(servers):
        yield from ip(path.child("nameservers").index(position), server)
    searches: Sequence[str] = config.get("searches") or ()
    if len(searches) > _SEARCH_PATHS:
        detail = f"must not have more than {_SEARCH_PATHS} search paths"
        yield fields.invalid(path.child("searches"), list(searches), detail)
    if len(" ".join(searches)) > _SEARCH_LENGTH:
        detail = f"must not have more than {_SEARCH_LENGTH} characters (including spaces) in the search list"
        yield fields.invalid(path.child("searches"), list(searches), detail)
    for position, search in enumerate(searches):
        if search != ".":
            yield from _search(path.child("searches").index(position), search)
    for position, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            yield fields.required(path.child("options").index(position), "must not be empty")


def host_aliases(path: Path, aliases: Sequence[Mapping[str, Any]]) -> Errors:
    for position, alias in enumerate(aliases):
        here = path.index(position)
        yield from ip(here.child("ip"), alias.get("ip") or "")
        for index, hostname in enumerate(alias.get("hostnames") or ()):
            yield from named(here.child("hostnames").index(index), hostname, names.dns1123_subdomain)


def hostname_override(path: Path, name: str, spec: Mapping[str, Any]) -> Errors:
    """A host name that replaces all that the pod would have: of the length that Linux allows, and the pod's own."""
    here = path.child("hostnameOverride")
    if spec.get("setHostnameAsFQDN"):
        yield fields.forbidden(here, "may not be specified when setHostnameAsFQDN is true")
    if spec.get("hostNetwork"):
        yield fields.forbidden(here, "may not be specified when hostNetwork is true")
    if len(name) > _HOSTNAME:
        yield fields.too_long(here, _HOSTNAME)
    yield from named(here, name, names.dns1123_subdomain)


def _search(path: Path, search: str) -> Errors:
    """A domain; an underscore may begin a label, since services in the DNS have such names."""
    yield from named(path, search.removesuffix("."), names.dns1123_subdomain_with_underscores)
