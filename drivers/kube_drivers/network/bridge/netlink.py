"""Links, addresses, routes and rules of one network namespace, over rtnetlink: the few requests that a bridge needs.

Blocking, and quick. Every request is answered by the kernel before the call returns; errors are `OSError`. What is made
and is there already, and what is removed and is gone, are no errors. The socket belongs to the namespace in which it
was made. (A library for all of rtnetlink would take longer to import than all of this takes to run.)
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import attrs

__all__ = ["Link", "Netlink", "nested", "read_attributes"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REQUEST, _ACK, _DUMP = 0x001, 0x004, 0x300
_CREATE, _EXCLUSIVE, _REPLACE = 0x400, 0x200, 0x100
_ERROR, _DONE = 2, 3

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _NEWROUTE, _DELROUTE = 20, 24, 25
_NEWRULE, _DELRULE = 32, 33

_IFLA_IFNAME, _IFLA_MASTER, _IFLA_PROTINFO, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 10, 12, 18, 28
_IFLA_BRPORT_MODE = 4
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_FRA_IIFNAME, _FRA_PRIORITY, _FRA_TABLE = 3, 6, 15

_IFF_UP = 1
_TABLE_MAIN, _TABLE_LOCAL = 254, 255
_PROTOCOL = 0x6B  # of routes: ours
_UNIVERSE, _LINK_SCOPE, _HOST_SCOPE = 0, 253, 254
_UNICAST, _LOCAL = 1, 2
_TO_TABLE, _PROHIBIT = 1, 8


@attrs.frozen
class Link:
    """`master`: the index of the bridge that it is in, 0 for none."""

    index: int
    name: str
    master: int


class Netlink:
    """A connection to the kernel, in the namespace of the thread that makes it."""

    def __init__(self, family: int = 0) -> None:
        """`family`: of netlink; 0 is links, addresses, routes and rules."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    # -- links -------------------------------------------------------------------------------------------------------

    def links(self) -> list[Link]:
        found = []
        for body in self.ask(_GETLINK, _REQUEST | _DUMP, struct.pack("BxHiII", 0, 0, 0, 0, 0)):
            index = struct.unpack_from("i", body, 4)[0]
            attributes = dict(read_attributes(body[16:]))
            master = struct.unpack("I", attributes[_IFLA_MASTER])[0] if _IFLA_MASTER in attributes else 0
            found.append(Link(index, attributes[_IFLA_IFNAME].rstrip(b"\0").decode(), master))
        return found

    def index(self, name: str) -> int:
        """Of a link; 0 where there is none."""
        try:
            return socket.if_nametoindex(name)
        except OSError:
            return 0

    def add_bridge(self, name: str) -> None:
        info = nested(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "bridge"))
        self.tell(_NEWLINK, _CREATE | _EXCLUSIVE, _link() + _text(_IFLA_IFNAME, name) + info, (errno.EEXIST,))

    def add_pair(self, name: str, peer: str, namespace: int, master: int) -> None:
        """Two linked devices: one here in a bridge, its peer in the namespace of this open file."""
        other = _link() + _text(_IFLA_IFNAME, peer) + _number(_IFLA_NET_NS_FD, namespace)
        data = nested(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, other))
        info = nested(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "veth") + data)
        body = _link(flags=_IFF_UP) + _text(_IFLA_IFNAME, name) + _number(_IFLA_MASTER, master) + info
        self.tell(_NEWLINK, _CREATE | _EXCLUSIVE, body)

    def set_up(self, index: int) -> None:
        self.tell(_NEWLINK, 0, _link(index, flags=_IFF_UP))

    def set_hairpin(self, index: int) -> None:
        """What comes in by this link of a bridge may go out by it."""
        body = struct.pack("BxHiII", socket.AF_BRIDGE, 0, index, 0, 0)
        self.tell(_SETLINK, 0, body + nested(_IFLA_PROTINFO, _attribute(_IFLA_BRPORT_MODE, b"\1")))

    def remove_link(self, name: str) -> None:
        if index := self.index(name):
            self.tell(_DELLINK, 0, _link(index), (errno.ENODEV,))

    # -- addresses and routes ----------------------------------------------------------------------------------------

    def add_address(self, index: int, interface: _Interface) -> None:
        packed = interface.ip.packed
        body = struct.pack("BBBBI", _family(interface), interface.network.prefixlen, 0, _UNIVERSE, index)
        body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
        self.tell(_NEWADDR, _CREATE | _EXCLUSIVE, body, (errno.EEXIST,))

    def add_default_route(self, gateway: _Address) -> None:
        body = _route(gateway, 0, _TABLE_MAIN, _UNIVERSE, _UNICAST) + _attribute(_RTA_GATEWAY, gateway.packed)
        self.tell(_NEWROUTE, _CREATE | _REPLACE, body)

    def add_route(self, network: _Network, index: int, table: int) -> None:
        """What is in this network is on this link, for who looks into the table."""
        body = _route(network.network_address, network.prefixlen, table, _LINK_SCOPE, _UNICAST)
        body += _attribute(_RTA_DST, network.network_address.packed) + _number(_RTA_OIF, index)
        self.tell(_NEWROUTE, _CREATE | _REPLACE, body)

    def add_local(self, network: _Network) -> None:
        """Every address of a network is this host's own."""
        self.tell(_NEWROUTE, _CREATE | _REPLACE, self._local(network))

    def remove_local(self, network: _Network) -> None:
        self.tell(_DELROUTE, 0, self._local(network), (errno.ESRCH, errno.ENOENT))

    def _local(self, network: _Network) -> bytes:
        body = _route(network.network_address, network.prefixlen, _TABLE_LOCAL, _HOST_SCOPE, _LOCAL)
        return body + _attribute(_RTA_DST, network.network_address.packed) + _number(_RTA_OIF, self.index("lo"))

    # -- rules -------------------------------------------------------------------------------------------------------

    def confine(self, link: str, table: int, priority: int) -> None:
        """What comes in by this link goes where the table says, and nowhere else (but to this host's own addresses)."""
        for rule in self._rules(link, table, priority):
            self.tell(_NEWRULE, _CREATE | _EXCLUSIVE, rule, (errno.EEXIST,))

    def release(self, link: str, table: int, priority: int) -> None:
        for rule in self._rules(link, table, priority):
            self.tell(_DELRULE, 0, rule, (errno.ENOENT, errno.ESRCH))

    def _rules(self, link: str, table: int, priority: int) -> Iterator[bytes]:
        for offset, action in enumerate((_TO_TABLE, _PROHIBIT)):
            wanted = table if action == _TO_TABLE else 0
            body = struct.pack("BBBBBBBBI", socket.AF_INET, 0, 0, 0, min(wanted, 252), 0, 0, action, 0)
            body += _text(_FRA_IIFNAME, link) + _number(_FRA_PRIORITY, priority + offset)
            yield body + (_number(_FRA_TABLE, wanted) if wanted else b"")

    # -- below -------------------------------------------------------------------------------------------------------

    def tell(self, kind: int, flags: int, body: bytes, ignored: tuple[int, ...] = ()) -> None:
        """Have something done. `ignored`: errors that are none."""
        try:
            for _ in self.ask(kind, _REQUEST | _ACK | flags, body):
                pass
        except OSError as error:
            if error.errno not in ignored:
                raise

    def ask(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        """The answers, without their heads."""
        self._sequence += 1
        self._socket.send(struct.pack("IHHII", 16 + len(body), kind, flags, self._sequence, 0) + body)
        while True:
            data = self._socket.recv(1 << 18)
            while data:
                length, answer, _, sequence, _ = struct.unpack_from("IHHII", data)
                content, data = data[16:length], data[(length + 3) & ~3 :]
                if sequence != self._sequence or answer == _DONE:
                    if answer == _DONE:
                        return
                    continue
                if answer == _ERROR:
                    number = -struct.unpack_from("i", content)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                yield content


def _family(thing: _Address | _Interface | _Network) -> int:
    return socket.AF_INET if thing.version == 4 else socket.AF_INET6


def _link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("BxHiII", 0, 0, index, flags, flags)


def _route(address: _Address, length: int, table: int, scope: int, kind: int) -> bytes:
    head = struct.pack("BBBBBBBBI", _family(address), length, 0, 0, min(table, 255), _PROTOCOL, scope, kind, 0)
    return head + (_number(_RTA_TABLE, table) if table > 255 else b"")


def _attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(padding)


def nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | 0x8000, value)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("I", value))


def read_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]
