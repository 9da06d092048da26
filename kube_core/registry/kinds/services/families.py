"""IP families of a Service: what its dual-stack fields become, given the families that the cluster has.

`settle` fills in `ipFamilyPolicy` and `ipFamilies` (and trims what a downgrade leaves over), or says why they cannot
be had. Documented under "IPv4/IPv6 dual-stack". It runs before addresses are allocated, and on every write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.services.shape import (
    HEADLESS,
    Family,
    Spec,
    cluster_ips,
    family_of,
    is_headless,
    needs_cluster_ip,
)

__all__ = ["POLICIES", "related_fields", "settle"]

SPEC = Path("spec")
POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
FAMILIES: Sequence[Family] = ("IPv4", "IPv6")
_NOT_EXTERNAL = "may not be set for ExternalName services"


def settle(spec: dict[str, Any], old: Spec | None, configured: Sequence[Family]) -> Sequence[FieldError]:
    """Complete the family fields in place; the errors, if it cannot be done. `configured`: the default family first."""
    if not needs_cluster_ip(spec):
        return ()
    if old is not None and _keeps_preference(spec, old):
        return ()
    if old is not None and spec.get("ipFamilyPolicy") == "SingleStack":
        _trim(spec, old)
    if errors := list(related_fields(spec)):
        return errors
    if is_headless(spec) and not spec.get("selector"):
        _settle_for_anyone(spec, configured)
        return ()
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    _infer_families(spec)
    if errors := list(_impossible(spec, configured)):
        return errors
    families = list(spec.get("ipFamilies") or configured[:1])
    if spec["ipFamilyPolicy"] != "SingleStack" and len(families) == 1 and len(configured) > 1:
        families += [family for family in configured if family not in families]
    spec["ipFamilies"] = families
    return ()


def related_fields(spec: Spec) -> Errors:
    """What is wrong with cluster IPs, families and policy as they stand beside each other."""
    if spec.get("type") == "ExternalName":
        for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name):
                yield fields.forbidden(SPEC.child(name), _NOT_EXTERNAL)
        return
    yield from _singular_and_plural(spec)
    families: Sequence[str] = spec.get("ipFamilies") or ()
    for position, family in enumerate(families):
        here = SPEC.child("ipFamilies").index(position)
        yield from checks.one_of(here, family, FAMILIES)
        if family in families[:position]:
            yield fields.duplicate(here, family)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None:
        yield from checks.one_of(SPEC.child("ipFamilyPolicy"), policy, POLICIES)
    yield from _addresses(spec, families)


def _singular_and_plural(spec: Spec) -> Errors:
    one, many = spec.get("clusterIP") or "", list(cluster_ips(spec))
    path = SPEC.child("clusterIPs")
    if many and not one:
        yield fields.invalid(path, many, "must be empty when `clusterIP` is not specified")
    elif one and not many:
        yield fields.required(path)
    elif many and many[0] != one:
        yield fields.invalid(path, many, "first value must match `clusterIP`")


def _addresses(spec: Spec, families: Sequence[str]) -> Errors:
    addresses = list(cluster_ips(spec))
    path = SPEC.child("clusterIPs")
    wrong = False
    for position, address in enumerate(addresses):
        if address == HEADLESS and not position:
            if len(addresses) > 1:
                wrong = True
                yield fields.invalid(path, addresses, "'None' must be the first and only value")
            continue
        for message in names.ip_address(address):
            wrong = True
            yield fields.invalid(path.index(position), address, message)
    if len(addresses) > 2:
        yield fields.invalid(path, addresses, "may only hold up to 2 values")
    if wrong or addresses == [HEADLESS]:
        return
    found = [family_of(address) for address in addresses]
    if len(found) > 1 and len(set(found)) < 2:
        yield fields.invalid(path, addresses, "may specify no more than one IP for each IP family")
        return
    for position, (address, family, wanted) in enumerate(zip(addresses, found, families, strict=False)):
        if family != wanted and wanted in FAMILIES:
            detail = f"expected an {wanted} value as indicated by `ipFamilies[{position}]`"
            yield fields.invalid(path.index(position), address, detail)


def _keeps_preference(spec: Spec, old: Spec) -> bool:
    """A PreferDualStack service that asks for no change is not converted when the cluster's families changed."""
    same = all(
        (spec.get(name) or None) == (old.get(name) or None) for name in ("ipFamilyPolicy", "ipFamilies", "clusterIPs")
    )
    return same and needs_cluster_ip(old) and spec.get("ipFamilyPolicy") == "PreferDualStack"


def _trim(spec: dict[str, Any], old: Spec) -> None:
    """Going to one family is meant for the lists too, where they were not touched."""
    for name in ("clusterIPs", "ipFamilies"):
        values = spec.get(name) or []
        if len(values) > 1 and values == list(old.get(name) or []):
            spec[name] = values[:1]


def _settle_for_anyone(spec: dict[str, Any], configured: Sequence[Family]) -> None:
    """A headless service without selector may claim both families on any cluster: others fill its endpoints."""
    spec.setdefault("ipFamilyPolicy", "RequireDualStack")
    families = list(spec.get("ipFamilies") or configured[:1])
    if len(families) < 2 and spec["ipFamilyPolicy"] != "SingleStack":
        families += [family for family in FAMILIES if family not in families]
    spec["ipFamilies"] = families


def _infer_families(spec: dict[str, Any]) -> None:
    families = list(spec.get("ipFamilies") or ())
    addresses = [address for address in cluster_ips(spec) if address != HEADLESS]
    families += [family_of(address) for address in addresses[len(families) :]]
    if families:
        spec["ipFamilies"] = families


def _impossible(spec: Spec, configured: Sequence[Family]) -> Errors:
    policy = spec["ipFamilyPolicy"]
    families = spec.get("ipFamilies") or ()
    detail = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    if policy == "SingleStack":
        if len(cluster_ips(spec)) > 1:
            yield fields.invalid(SPEC.child("ipFamilyPolicy"), policy, detail.format("cluster IPs"))
            return
        if len(families) > 1:
            yield fields.invalid(SPEC.child("ipFamilyPolicy"), policy, detail.format("IP families"))
            return
    if policy == "RequireDualStack" and len(configured) < 2:
        yield fields.invalid(
            SPEC.child("ipFamilyPolicy"), policy, "this cluster is not configured for dual-stack services"
        )
        return
    for position, family in enumerate(families):
        if family not in configured:
            yield fields.invalid(SPEC.child("ipFamilies").index(position), family, "not configured on this cluster")
