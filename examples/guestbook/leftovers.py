"""Making sure that a cluster has left nothing behind: no process, no listening socket, no file."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from kube_core.cluster import Cluster

__all__ = ["Leftovers"]

_LISTEN = "0A"


class Leftovers:
    """What a cluster with this state directory could leave. `note` while it runs, `find` once it has stopped."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._before = set(_listening())
        self._seen: set[tuple[str, int]] = set()

    def note(self, cluster: Cluster) -> None:
        """Remember what listens now and did not before: the server, the ingress, services, pods."""
        mine = set(_sockets_of_tree(os.getpid()))
        ranges = [ipaddress.ip_network(each) for each in (cluster.ranges.pod_cidr, cluster.ranges.service_cidr)]
        self._seen = {
            (address, port)
            for address, port, inode in set(_listening()) - self._before
            if inode in mine or any(ipaddress.ip_address(address) in each for each in ranges)
        }

    def remove_directory(self) -> None:
        """The directory is the caller's own, so the caller removes it; what the cluster put in it goes with it."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def find(self) -> list[str]:
        """A line for each thing that is left."""
        left = [f"process {pid}: {command}" for pid, command in _processes_naming(str(self.directory))]
        still = {(address, port) for address, port, _ in _listening()}
        left += [f"socket {address}:{port} still listens" for address, port in sorted(self._seen & still)]
        if self.directory.exists():
            left += [f"file {path}" for path in sorted(self.directory.rglob("*"))] or [f"directory {self.directory}"]
        return left


def _listening() -> Iterator[tuple[str, int, str]]:
    """Address, port and inode of every TCP socket of this machine that listens (IPv4)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            yield socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16), fields[9]


def _sockets_of_tree(root: int) -> Iterator[str]:
    """Inodes of the sockets that a process and its descendants hold."""
    for pid in (root, *_descendants(root)):
        try:
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    yield target[8:-1]
        except OSError:
            continue


def _descendants(root: int) -> Iterator[int]:
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        for child in task.read_text().split():
            yield int(child)
            yield from _descendants(int(child))


def _processes_naming(directory: str) -> Iterator[tuple[int, str]]:
    """Processes, other than this one, whose command line or environment names the directory."""
    needle = directory.encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            if needle in command or needle in (entry / "environ").read_bytes():
                yield int(entry.name), command.replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
