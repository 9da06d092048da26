"""Addresses and node ports of Services: who has which, and what the next one gets.

`ServiceAllocator` keeps in memory what all Services hold, filled by `load` at start and then only by the write path of
one process: `allocate` before a Service is written, the function it returns if that write fails, `release` when a
Service is gone. All of it happens within one turn of the event loop, so two writers never meet.

What is chosen (documented under "Service ClusterIP allocation" and "Avoiding collisions assigning ports"): each range
has a lower band, left to people who ask for a certain value, and an upper one from which values are chosen in turn;
the lower is used when the upper is full. A dry run gets a choice too, but holds nothing.

To the ranges that the server is started with, ServiceCIDRs add others: whoever follows them calls `set_ranges`, and
`reserve` for the addresses that IPAddresses hold for somebody else than a Service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kube_core.meta import fields
from kube_core.meta.documents import Document, MutableDocument, name_of
from kube_core.meta.fields import Path
from kube_core.meta.gvk import GroupKind
from kube_core.meta.status import InternalError, Invalid, invalid
from kube_core.registry.kinds.rules import IPNetwork
from kube_core.registry.kinds.services import families
from kube_core.registry.kinds.services.shape import (
    HEADLESS,
    Family,
    Spec,
    cluster_ips,
    is_headless,
    needs_cluster_ip,
    needs_health_check_port,
    needs_node_ports,
    node_ports,
    ports,
)

__all__ = ["DEFAULT_NODE_PORTS", "DEFAULT_SERVICE_CIDR", "ServiceAllocator"]

DEFAULT_SERVICE_CIDR = "10.96.0.0/16"
DEFAULT_NODE_PORTS = range(30000, 32768)

_SERVICE = GroupKind("", "Service")
_SPEC = Path("spec")
_TAKEN_PORT = "provided port is already allocated"
_TAKEN_ADDRESS = "provided IP is already allocated"
_NO_RANGE = "the provided network does not match the current range"


class _Refused(Exception):
    """A value cannot be had; the message says why."""


class _Pool:
    """Numbers of a range and who is taken: `offset` of them, at the bottom, are chosen only when asked for."""

    def __init__(self, size: int, offset: int) -> None:
        self.size = size
        self.offset = offset if offset < size else 0
        self.taken: set[int] = set()
        self.reserved: set[int] = set()
        self._next = self.offset

    def choose(self, also_taken: set[int]) -> int | None:
        """A free number, or None: from the upper band in turn, then from the lower."""
        found = self._scan(self._next, self.size, also_taken)
        if found is None:
            found = self._scan(self.offset, self._next, also_taken)
        if found is None:
            return self._scan(0, self.offset, also_taken)
        self._next = found + 1
        return found

    def _scan(self, start: int, end: int, also_taken: set[int]) -> int | None:
        return next(
            (
                number
                for number in range(start, end)
                if number not in self.taken and number not in also_taken and number not in self.reserved
            ),
            None,
        )


class _AddressPool(_Pool):
    """The addresses of one range, numbered from its first usable one."""

    def __init__(self, network: IPNetwork) -> None:
        self.network = network
        self.family: Family = "IPv6" if network.version == 6 else "IPv4"
        # Neither the network's own address nor, for IPv4, the broadcast address.
        usable = min(network.num_addresses - (2 if network.version == 4 else 1), 1 << 16)
        size = max(usable, 0)
        super().__init__(size, min(max(16, size // 16), 256) if size >= 16 else 0)

    def number(self, address: str) -> int | None:
        """None for an address that is not of this range. Raises `ValueError` for what is none."""
        found = ipaddress.ip_address(address)
        number = int(found) - int(self.network.network_address) - 1
        return number if found.version == self.network.version and 0 <= number < self.size else None

    def address(self, number: int) -> str:
        return str(self.network.network_address + 1 + number)


class _Ledger:
    """The changes of one write to one pool, before they count."""

    def __init__(self, pool: _Pool, held: Iterable[int]) -> None:
        """`held`: what the object has already."""
        self.pool = pool
        self.held = set(held)
        self.wanted: set[int] = set()

    def take(self, number: int, refusal: str) -> None:
        """Raises `_Refused`."""
        if (number in self.pool.taken or number in self.pool.reserved) and number not in self.held:
            raise _Refused(refusal)
        self.wanted.add(number)

    def choose(self, avoided: set[int] | None = None) -> int | None:
        number = self.pool.choose(self.wanted | avoided if avoided else self.wanted)
        if number is not None:
            self.wanted.add(number)
        return number

    def commit(self) -> None:
        self.pool.taken -= self.held - self.wanted
        self.pool.taken |= self.wanted

    def undo(self) -> None:
        self.pool.taken -= self.wanted - self.held
        self.pool.taken |= self.held


_Account = tuple[_AddressPool, _Ledger]


def _take(accounts: Sequence[_Account], address: str) -> None:
    """Take an address in every range that has it. Raises `_Refused`."""
    numbers = [(ledger, pool.number(address)) for pool, ledger in accounts]
    found = [(ledger, number) for ledger, number in numbers if number is not None]
    if not found:
        raise _Refused(_NO_RANGE)
    for ledger, number in found:
        ledger.take(number, _TAKEN_ADDRESS)


def _choose(accounts: Sequence[_Account]) -> str:
    """An address of the first range with a free one. Raises `InternalError`."""
    for pool, ledger in accounts:
        others = [account for account in accounts if account[0] is not pool]
        avoided: set[int] = set()
        while (number := ledger.choose(avoided)) is not None:
            address = pool.address(number)
            try:
                if any(other.number(address) is not None for other, _ in others):
                    _take(others, address)
            except _Refused:
                # Ranges may lie within each other, and the other knows of somebody who has it.
                ledger.wanted.discard(number)
                avoided.add(number)
                continue
            return address
    raise InternalError("failed to allocate a serviceIP: range is full")


class ServiceAllocator:
    """The service addresses and node ports of a cluster."""

    def __init__(self, service_cidr: str = DEFAULT_SERVICE_CIDR, *, node_ports: range = DEFAULT_NODE_PORTS) -> None:
        """`service_cidr`: one range, or one of each family, the default family's first, separated by a comma."""
        self._addresses = [
            _AddressPool(ipaddress.ip_network(each.strip(), strict=False)) for each in service_cidr.split(",")
        ]
        self._own = len(self._addresses)
        self._range = node_ports
        size = len(node_ports)
        self._ports = _Pool(size, min(max(16, size // 32), 128) if size >= 32 else 0)

    @property
    def families(self) -> Sequence[Family]:
        return [pool.family for pool in self._addresses[: self._own]]

    @property
    def ranges(self) -> Sequence[IPNetwork]:
        """The ranges that the server was started with."""
        return [pool.network for pool in self._addresses[: self._own]]

    def set_ranges(self, added: Iterable[IPNetwork], documents: Iterable[Document]) -> None:
        """Choose from these ranges too, and from no others but one's own; `documents`: the Services there are."""
        present = {pool.network: pool for pool in self._addresses}
        own = self._addresses[: self._own]
        wanted = [network for network in dict.fromkeys(added) if network not in self.ranges]
        new = [present.get(network) or _AddressPool(network) for network in wanted]
        fresh = [pool for pool in new if pool.network not in present]
        self._addresses = [*own, *new]
        for document in documents if fresh else ():
            spec = document.get("spec") or {}
            for pool in fresh:
                pool.taken |= self._held_addresses(pool, spec)

    def reserve(self, addresses: Iterable[str]) -> None:
        """Give no Service these addresses, and no others that were reserved before."""
        listed = list(addresses)
        for pool in self._addresses:
            pool.reserved = {number for each in listed if (number := pool.number(each)) is not None}

    def load(self, documents: Iterable[Document]) -> None:
        """Note what these Services hold; of two that hold the same, both keep it."""
        for document in documents:
            spec = document.get("spec") or {}
            for pool in self._addresses:
                pool.taken |= self._held_addresses(pool, spec)
            self._ports.taken |= self._held_ports(spec)

    def allocate(
        self, document: MutableDocument, old: Document | None = None, *, dry_run: bool = False
    ) -> Callable[[], None]:
        """Complete families, addresses and ports in place; returns what gives them back.

        Raises `Invalid` for what cannot be had, and `InternalError` when a range is full.
        """
        spec: dict[str, Any] = document["spec"]
        before: Spec | None = (old.get("spec") or {}) if old is not None else None
        if errors := families.settle(spec, before, self.families):
            raise invalid(_SERVICE, name_of(document), errors)
        ledgers = [_Ledger(pool, self._held_addresses(pool, before or {})) for pool in self._addresses]
        port_ledger = _Ledger(self._ports, self._held_ports(before or {}))
        self._allocate_addresses(document, spec, ledgers)
        self._allocate_ports(document, spec, port_ledger)
        if dry_run:
            return _nothing
        ledgers.append(port_ledger)
        for ledger in ledgers:
            ledger.commit()

        def undo() -> None:
            for ledger in ledgers:
                ledger.undo()

        return undo

    def release(self, document: Document) -> None:
        """Take back what a Service held that is gone."""
        spec = document.get("spec") or {}
        for pool in self._addresses:
            pool.taken -= self._held_addresses(pool, spec)
        self._ports.taken -= self._held_ports(spec)

    # -- addresses ---------------------------------------------------------------------------------------------------

    def _held_addresses(self, pool: _AddressPool, spec: Spec) -> set[int]:
        held = set()
        if needs_cluster_ip(spec) and not is_headless(spec):
            for address in cluster_ips(spec):
                try:
                    number = pool.number(address)
                except ValueError:
                    continue
                if number is not None:
                    held.add(number)
        return held

    def _allocate_addresses(self, document: Document, spec: dict[str, Any], ledgers: Sequence[_Ledger]) -> None:
        if not needs_cluster_ip(spec) or is_headless(spec):
            return
        pools: dict[Family, list[_Account]] = {}
        for pool, ledger in zip(self._addresses, ledgers, strict=True):
            pools.setdefault(pool.family, []).append((pool, ledger))
        given = list(cluster_ips(spec))
        result: list[str] = []
        for position, family in enumerate(spec.get("ipFamilies") or ()):
            if family not in pools:
                continue
            if position < len(given) and given[position] != HEADLESS:
                address = given[position]
                try:
                    _take(pools[family], address)
                except _Refused as refused:
                    raise self._invalid(
                        document, _SPEC.child("clusterIPs"), given, f"failed to allocate IP {address}: {refused}"
                    ) from None
            else:
                address = _choose(pools[family])
            result.append(address)
        if result:
            spec["clusterIPs"] = result
            spec["clusterIP"] = result[0]

    # -- ports -------------------------------------------------------------------------------------------------------

    def _held_ports(self, spec: Spec) -> set[int]:
        numbers = node_ports(spec)
        if spec.get("healthCheckNodePort"):
            numbers.append(spec["healthCheckNodePort"])
        return {number - self._range.start for number in numbers if number in self._range}

    def _allocate_ports(self, document: Document, spec: dict[str, Any], ledger: _Ledger) -> None:
        if needs_node_ports(spec) or node_ports(spec):
            self._allocate_node_ports(document, spec, ledger)
        if needs_health_check_port(spec):
            path = _SPEC.child("healthCheckNodePort")
            spec["healthCheckNodePort"] = self._port(document, spec.get("healthCheckNodePort"), path, ledger)

    def _allocate_node_ports(self, document: Document, spec: dict[str, Any], ledger: _Ledger) -> None:
        """Ports of the same number share a node port: the same service over another protocol."""
        by_port: dict[int, int] = {}
        protocols: dict[int, set[str]] = {}
        for position, port in enumerate(ports(spec)):
            if not port.get("nodePort"):
                continue
            number = port["nodePort"]
            path = _SPEC.child("ports").index(position).child("nodePort")
            protocol = port.get("protocol", "")
            if number not in protocols:
                self._port(document, number, path, ledger)
            elif protocol in protocols[number]:
                raise self._invalid(document, path, number, _TAKEN_PORT)
            by_port.setdefault(port["port"], number)
            protocols.setdefault(number, set()).add(protocol)
        if not needs_node_ports(spec):
            return
        for position, port in enumerate(ports(spec)):
            if port.get("nodePort"):
                continue
            shared = by_port.get(port["port"])
            if shared is None or port.get("protocol", "") in protocols[shared]:
                path = _SPEC.child("ports").index(position).child("nodePort")
                shared = self._port(document, None, path, ledger)
                by_port[port["port"]] = shared
            protocols.setdefault(shared, set()).add(port.get("protocol", ""))
            spec["ports"][position]["nodePort"] = shared

    def _port(self, document: Document, number: int | None, path: Path, ledger: _Ledger) -> int:
        if not number:
            chosen = ledger.choose()
            if chosen is None:
                raise InternalError("failed to allocate a nodePort: range is full")
            return self._range.start + chosen
        if number not in self._range:
            detail = (
                "provided port is not in the valid range. The range of valid ports is "
                f"{self._range.start}-{self._range.stop - 1}"
            )
            raise self._invalid(document, path, number, detail)
        try:
            ledger.take(number - self._range.start, _TAKEN_PORT)
        except _Refused as refused:
            raise self._invalid(document, path, number, str(refused)) from None
        return number

    @staticmethod
    def _invalid(document: Document, path: Path, value: Any, detail: str) -> Invalid:
        return invalid(_SERVICE, name_of(document), [fields.invalid(path, value, detail)])


def _nothing() -> None:
    """A dry run held nothing."""
