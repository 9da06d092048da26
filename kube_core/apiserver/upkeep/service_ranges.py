"""The ranges of service addresses, and who has which address, as objects: ServiceCIDRs and IPAddresses.

What holds: there is a ServiceCIDR `kubernetes` with the ranges that the server was started with; a ServiceCIDR is
Ready once Services get addresses of it, and one that is being deleted stays while a Service has an address of it that
no other range has; each address of a Service has an IPAddress that names the Service, and goes with it. Addresses that
IPAddresses hold for anything else are given to no Service.

Services do not wait for this: their addresses come from the allocator, which is in memory, and are written down here
afterwards. Upstream writes them first and has a controller of its own for the finalizer and the condition; here one
loop does it all. Documented under "Extend Service IP Ranges".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.admission.chain import Chain
from kube_core.api.resources import IP_ADDRESSES, SERVICE_CIDRS, SERVICES
from kube_core.api.types import ResourceType
from kube_core.apiserver.bootstrap import OWN_OPTIONS, OWN_USER, ensure
from kube_core.bus.bus import Interest
from kube_core.bus.changes import Change, Stored
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import NotFound, StatusError
from kube_core.meta.times import format_time
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, DeleteOptions
from kube_core.registry.generic import Update
from kube_core.registry.kinds.rules import IPNetwork
from kube_core.registry.kinds.services.allocation import ServiceAllocator
from kube_core.registry.kinds.services.shape import cluster_ips, is_headless, needs_cluster_ip

__all__ = ["ServiceRanges"]

_log = get_logger("kube_core.apiserver")
DEFAULT_RANGE = "kubernetes"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
MANAGED_LABEL = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"
_READY = "Kubernetes Service CIDR is ready"
_DEFAULT_READY = "Kubernetes default Service CIDR is ready"
_IN_USE = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


class ServiceRanges:
    """Keeps them, as a loop of `kube_core.apiserver.following`."""

    resources: ClassVar[Mapping[GroupResource, Interest]] = {
        SERVICES.group_resource: Interest(),
        SERVICE_CIDRS.group_resource: Interest(),
        IP_ADDRESSES.group_resource: Interest(),
    }

    def __init__(self, catalogue: Catalogue, allocator: ServiceAllocator, clock: Clock) -> None:
        self._catalogue = catalogue
        self._allocator = allocator
        self._clock = clock

    async def begin(self) -> None:
        await self._make_default()
        await self._put_ranges_right()
        services = [stored.document for stored in self._stored(SERVICES)]
        held = {address: document for document in services for address in _addresses(document)}
        for address, document in held.items():
            await self._hold(address, document)
        for stored in self._stored(IP_ADDRESSES):
            if _is_managed(stored) and stored.key.name not in held:
                await self._release(stored.key.name)
        self._reserve()

    async def changed(self, resource: GroupResource, changes: Sequence[Change]) -> None:
        if resource == SERVICES.group_resource:
            await self._services_changed(changes)
        elif resource == IP_ADDRESSES.group_resource:
            await self._addresses_changed(changes)
        else:
            if any(change.after is None and change.key.name == DEFAULT_RANGE for change in changes):
                await self._make_default()
            await self._put_ranges_right()

    # -- addresses ---------------------------------------------------------------------------------------------------

    async def _services_changed(self, changes: Sequence[Change]) -> None:
        services = self._catalogue.of(SERVICES).cache
        for key, before in {change.key: change.before for change in reversed(changes)}.items():
            now = services.get(key)
            wanted = set(_addresses(now.document)) if now is not None else set()
            for address in set(_addresses(before.document)) - wanted if before is not None else ():
                await self._release(address, key)
            if now is not None:
                for address in sorted(wanted):
                    await self._hold(address, now.document)

    async def _addresses_changed(self, changes: Sequence[Change]) -> None:
        self._reserve()
        services = self._catalogue.of(SERVICES).cache
        for change in changes:
            if change.after is None and change.before is not None:
                service = services.get(_holder(change.before.document))
                if service is not None and change.key.name in _addresses(service.document):
                    await self._hold(change.key.name, service.document)
        # One that is gone may have been the last that held a range.
        if any("deletionTimestamp" in stored.metadata for stored in self._stored(SERVICE_CIDRS)):
            await self._put_ranges_right()

    async def _hold(self, address: str, service: Document) -> None:
        """Write down that a Service has an address."""
        name = str(ipaddress.ip_address(address))
        if self._catalogue.of(IP_ADDRESSES).cache.get(Key("", name)) is not None:
            return
        family = "IPv6" if ":" in name else "IPv4"
        metadata = service["metadata"]
        holder = {"group": "", "resource": "services", "namespace": metadata["namespace"], "name": metadata["name"]}
        document: MutableDocument = {
            "metadata": {"name": name, "labels": {FAMILY_LABEL: family, MANAGED_LABEL: MANAGER}},
            "spec": {"parentRef": holder},
        }
        await self._try(name, ensure(self._catalogue, Chain(), IP_ADDRESSES, document))

    async def _release(self, address: str, service: Key | None = None) -> None:
        """Forget an address, unless it is another's by now."""
        key = Key("", str(ipaddress.ip_address(address)))
        stored = self._catalogue.of(IP_ADDRESSES).cache.get(key)
        if stored is not None and _is_managed(stored) and service in (None, _holder(stored.document)):
            deletion = self._catalogue.of(IP_ADDRESSES).delete(Context(OWN_USER, Chain()), key, DeleteOptions())
            await self._try(key.name, deletion)

    def _reserve(self) -> None:
        self._allocator.reserve(stored.key.name for stored in self._stored(IP_ADDRESSES) if not _is_managed(stored))

    # -- ranges ------------------------------------------------------------------------------------------------------

    async def _make_default(self) -> None:
        spec = {"cidrs": [str(each) for each in self._allocator.ranges]}
        document: MutableDocument = {"metadata": {"name": DEFAULT_RANGE, "finalizers": [FINALIZER]}, "spec": spec}
        await self._try(DEFAULT_RANGE, ensure(self._catalogue, Chain(), SERVICE_CIDRS, document))

    async def _put_ranges_right(self) -> None:
        present = list(self._stored(SERVICE_CIDRS))
        staying = [stored for stored in present if "deletionTimestamp" not in stored.metadata]
        networks = [network for stored in staying for network in _networks(stored.document)]
        # Who sees that a range is ready gets an address of it.
        self._allocator.set_ranges(networks, (stored.document for stored in self._stored(SERVICES)))
        self._reserve()
        for stored in staying:
            if FINALIZER not in (stored.metadata.get("finalizers") or ()):
                await self._update(stored.key, _with_finalizer)
            message = _DEFAULT_READY if stored.key.name == DEFAULT_RANGE else _READY
            await self._tell(stored, "True", "", message)
        for stored in present:
            if "deletionTimestamp" not in stored.metadata:
                continue
            if self._is_in_use(stored, present):
                await self._tell(stored, "False", "Terminating", _IN_USE)
            elif FINALIZER in (stored.metadata.get("finalizers") or ()):
                await self._update(stored.key, _without_finalizer)

    def _is_in_use(self, stored: Stored, present: Sequence[Stored]) -> bool:
        """Whether somebody has an address of a range which is in no other."""
        others = [network for each in present if each.key != stored.key for network in _networks(each.document)]
        own = [each for each in _networks(stored.document) if not any(_within(each, other) for other in others)]
        for held in self._stored(IP_ADDRESSES) if own else ():
            address = ipaddress.ip_address(held.key.name)
            if _is_managed(held) and any(address in each for each in own) and not any(address in o for o in others):
                return True
        return False

    async def _tell(self, stored: Stored, status: str, reason: str, message: str) -> None:
        """Say how a range is, in its condition Ready."""
        now = format_time(self._clock.now())
        told = {"type": "Ready", "status": status, "reason": reason, "message": message}

        def with_condition(document: MutableDocument) -> None:
            conditions: list[dict[str, Any]] = document.setdefault("status", {}).setdefault("conditions", [])
            before = next((each for each in conditions if each.get("type") == "Ready"), None)
            since = before["lastTransitionTime"] if before is not None and before["status"] == status else now
            others = [each for each in conditions if each is not before]
            document["status"]["conditions"] = [*others, {**told, "lastTransitionTime": since}]

        conditions = (stored.document.get("status") or {}).get("conditions") or ()
        if not any(all(each.get(name) == value for name, value in told.items()) for each in conditions):
            await self._update(stored.key, with_condition, subresource="status")

    async def _update(self, key: Key, change: Callable[[MutableDocument], None], *, subresource: str = "") -> None:
        async def changed(current: Document | None) -> MutableDocument:
            if current is None:
                raise NotFound("the object is gone")
            document: MutableDocument = thaw(current)
            change(document)
            return document

        update = Update(OWN_OPTIONS, subresource=subresource)
        registry = self._catalogue.of(SERVICE_CIDRS)
        await self._try(key.name, registry.update(Context(OWN_USER, Chain()), key, update, changed))

    async def _try(self, name: str, write: Any) -> None:
        try:
            await write
        except NotFound:
            pass
        except StatusError as error:
            _log.warning("what is known of service addresses was not written", name=name, error=str(error))

    def _stored(self, resource: ResourceType) -> Iterator[Stored]:
        return iter(self._catalogue.of(resource).cache.list())


def _addresses(service: Document) -> Sequence[str]:
    spec = service.get("spec") or {}
    return [each for each in cluster_ips(spec) if each] if needs_cluster_ip(spec) and not is_headless(spec) else ()


def _is_managed(stored: Stored) -> bool:
    return (stored.metadata.get("labels") or {}).get(MANAGED_LABEL) == MANAGER


def _holder(address: Document) -> Key:
    """The Service that an IPAddress names."""
    reference = (address.get("spec") or {}).get("parentRef") or {}
    return Key(reference.get("namespace") or "", reference.get("name") or "")


def _networks(document: Document) -> Sequence[IPNetwork]:
    return [ipaddress.ip_network(each) for each in (document.get("spec") or {}).get("cidrs") or ()]


def _within(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]


def _with_finalizer(document: MutableDocument) -> None:
    document["metadata"].setdefault("finalizers", []).append(FINALIZER)


def _without_finalizer(document: MutableDocument) -> None:
    held = document["metadata"].get("finalizers") or []
    document["metadata"]["finalizers"] = [each for each in held if each != FINALIZER]
