"""Ports of the host that lead to pods (`hostPort`): packets get another destination, by nftables.

    <state directory>/host-ports.json            which ports are whose

A node has a table of its own, named after its bridge, which is there only while one of its pods has such ports, and is
always written as a whole: what is in the kernel is what the file says, also after a death between the two. A port
without a `hostIP` is one of the node's address and of loopback, not of every address of the machine: other nodes of the
machine have theirs, and those of services belong to the proxy. A `hostIP` is taken at its word.

Whoever comes by such a port is the bridge's address to the pod: answers have to come back the same way. Loopback leads
out to the bridge for that; what comes in by the bridge for loopback is dropped.

Blocking, like all that is said to the kernel. Called by the driver, one call at a time.
"""

from __future__ import annotations

import contextlib
import ipaddress
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import attrs
import orjson

from kube_core.abc.network import NetworkError
from kube_core.abc.runtime import PortMapping
from kube_drivers.network.bridge.conntrack import forget_udp

__all__ = ["HostPorts"]

_LOOPBACK = "127.0.0.0/8"
_EVERYWHERE = ("", "0.0.0.0")


@attrs.frozen
class _Ports:
    """Of one sandbox."""

    ip: str
    mappings: tuple[PortMapping, ...]


class HostPorts:
    """Of one node."""

    def __init__(self, bridge: str, address: str, file: Path) -> None:
        """`bridge`: the device, and what the table is called; `address`: the node's own."""
        self._bridge = bridge
        self._address = address
        self._file = file
        self._ports: dict[str, _Ports] = {}

    def read(self, known: Collection[str]) -> None:
        """Go on from the file, with those of these sandboxes. Raises `NetworkError`."""
        try:
            found = orjson.loads(self._file.read_bytes())
        except FileNotFoundError:
            return
        except ValueError as error:
            raise NetworkError(f"the ports of the pods cannot be read from {self._file}: {error}") from None
        self._ports = {
            sandbox: _Ports(ip, tuple(PortMapping(*each) for each in mappings))
            for sandbox, (ip, mappings) in found.items()
            if sandbox in known
        }
        self._write()

    def lead(self, sandbox: str, ip: str, mappings: Sequence[PortMapping]) -> None:
        """Have these ports of the host lead to the pod with this address. Raises `NetworkError`."""
        wanted = _Ports(ip, tuple(each for each in mappings if _is_v4(each.host_ip)))
        if not wanted.mappings or self._ports.get(sandbox) == wanted:
            return
        self._ports[sandbox] = wanted
        try:
            self._write()
            _forget(wanted)
        except BaseException:
            del self._ports[sandbox]
            self._keep()
            raise

    def release(self, sandbox: str) -> None:
        """They lead nowhere. Those of an unknown sandbox never did. Raises `NetworkError`."""
        if (known := self._ports.pop(sandbox, None)) is not None:
            self._write()
            _forget(known)

    def end(self) -> None:
        """Leave nothing behind. Needs no `read` before."""
        if self._file.exists():
            self._ports.clear()
            self._write()

    def _write(self) -> None:
        """While there is a table there is a file: whoever starts again after a death makes the one from the other."""
        if self._ports:
            self._keep()
        else:
            self._open_loopback("0")
        _tell("\n".join(self._script()))
        if self._ports:
            self._open_loopback("1")
        else:
            self._keep()

    def _keep(self) -> None:
        content = {
            sandbox: (ports.ip, [attrs.astuple(each) for each in ports.mappings])
            for sandbox, ports in self._ports.items()
        }
        if not content:
            self._file.unlink(missing_ok=True)
            return
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(content))
        fresh.replace(self._file)

    def _open_loopback(self, setting: str) -> None:
        """Only while the table keeps everything else from it."""
        with contextlib.suppress(FileNotFoundError):  # the bridge is gone
            Path(f"/proc/sys/net/ipv4/conf/{self._bridge}/route_localnet").write_text(setting)

    def _script(self) -> Iterator[str]:
        table = f"table ip {self._bridge}"
        yield f"{table} {{}}"  # so that it can be removed
        yield f"delete {table}"
        if not self._ports:
            return
        yield f"{table} {{"
        yield " chain ports {"
        for ports in self._ports.values():
            for each in ports.mappings:
                protocol = each.protocol.lower()
                goal = f"{ports.ip}:{each.container_port}"
                yield f"  ip daddr {self._places(each)} {protocol} dport {each.host_port} dnat to {goal}"
        yield " }"
        yield " chain prerouting { type nat hook prerouting priority -100; jump ports; }"
        yield " chain output { type nat hook output priority -100; jump ports; }"
        yield " chain postrouting {"
        yield "  type nat hook postrouting priority 100"
        for ports in self._ports.values():
            for each in ports.mappings:
                was = f"ct original ip daddr {self._places(each)} ct original proto-dst {each.host_port}"
                yield f"  meta l4proto {each.protocol.lower()} {was} ip daddr {ports.ip} masquerade"
        yield " }"
        yield " chain guard {"
        yield f"  type filter hook prerouting priority -300; iifname {self._bridge} ip daddr {_LOOPBACK} drop"
        yield " }"
        yield "}"

    def _places(self, mapping: PortMapping) -> str:
        return f"{{ {self._address}, {_LOOPBACK} }}" if mapping.host_ip in _EVERYWHERE else mapping.host_ip


def _forget(ports: _Ports) -> None:
    # A kernel that cannot be told has to find out by itself, once nothing was sent for half a minute.
    with contextlib.suppress(OSError):
        forget_udp({each.host_port for each in ports.mappings if each.protocol == "UDP"})


def _is_v4(address: str) -> bool:
    return address == "" or ipaddress.ip_address(address).version == 4


def _tell(script: str) -> None:
    try:
        done = subprocess.run(["nft", "-f", "-"], input=script, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NetworkError("ports of the host need the program nft, of Debian's package nftables") from None
    if done.returncode:
        why = next((line for line in done.stderr.splitlines() if line.strip()), f"exit code {done.returncode}")
        raise NetworkError(f"ports of the host cannot be led to pods: nft: {why}")
