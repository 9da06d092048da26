"""IPAddresses and ServiceCIDRs: the ranges of service addresses, and who holds which, as objects.

Documented under "Extend Service IP Ranges". An IPAddress is named after the address that it stands for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from kube_core.meta import fields, names
from kube_core.meta.documents import Document
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import OWN_METADATA, BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["IPAddressStrategy", "ServiceCIDRStrategy"]

SPEC = Path("spec")


class IPAddressStrategy(BuiltinStrategy):
    def name_problems(self, name: str, *, prefix: bool = False) -> names.Messages:
        try:
            canonical = str(ipaddress.ip_address(name))
        except ValueError:
            return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
        return () if canonical == name else (f'must be in canonical form ("{canonical}")',)

    def validate(self, document: Document) -> Errors:
        reference = (document.get("spec") or {}).get("parentRef")
        path = SPEC.child("parentRef")
        if reference is None:
            yield fields.required(path)
            return
        if not reference.get("resource"):
            yield fields.required(path.child("resource"))
        else:
            yield from checks.named(path.child("resource"), reference["resource"], names.path_segment)
        if not reference.get("name"):
            yield fields.required(path.child("name"))
        else:
            yield from checks.named(path.child("name"), reference["name"], names.path_segment)
        if reference.get("group"):
            yield from checks.named(path.child("group"), reference["group"], names.dns1123_subdomain)
        if reference.get("namespace"):
            yield from checks.named(path.child("namespace"), reference["namespace"], names.path_segment)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        new, before = document.get("spec") or {}, old.get("spec") or {}
        yield from checks.immutable(SPEC.child("parentRef"), new.get("parentRef"), before.get("parentRef"))

    def field_labels(self) -> Sequence[str]:
        return ("spec.parentRef",)

    def fields(self, document: Document) -> Mapping[str, str]:
        reference = (document.get("spec") or {}).get("parentRef") or {}
        return {
            "spec.parentRef": "/".join(reference.get(part) or "" for part in ("group", "resource", "namespace", "name"))
        }


class ServiceCIDRStrategy(BuiltinStrategy):
    fixed_by_status = OWN_METADATA

    def validate(self, document: Document) -> Errors:
        ranges: Sequence[str] = (document.get("spec") or {}).get("cidrs") or ()
        path = SPEC.child("cidrs")
        if not ranges:
            yield fields.required(path, "at least one CIDR required")
            return
        if len(ranges) > 2:
            yield fields.invalid(path, list(ranges), "may only hold up to 2 values")
        wrong = False
        for position, each in enumerate(ranges):
            for message in names.cidr(each):
                wrong = True
                yield fields.invalid(path.index(position), each, message)
        if not wrong and len(ranges) == 2:
            versions = {ipaddress.ip_network(each).version for each in ranges}
            if len(versions) < 2:
                detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
                yield fields.invalid(path, list(ranges), detail)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        new: Sequence[str] = (document.get("spec") or {}).get("cidrs") or ()
        before: Sequence[str] = (old.get("spec") or {}).get("cidrs") or ()
        path = SPEC.child("cidrs")
        # A second family may be added, and nothing else.
        added = len(before) == 1 and len(new) == 2
        if len(new) != len(before) and not added:
            yield fields.invalid(path, list(new), checks.IMMUTABLE)
            return
        for position, was in enumerate(before):
            if new[position] != was:
                yield fields.invalid(path.index(position), new[position], checks.IMMUTABLE)
        if added:
            yield from self.validate(document)
