"""What a pod has besides its containers: namespaces, a cgroup, `/dev/shm`, a few files. Mostly no process.

    <directory>/ns/{ipc,uts}    namespaces, each held by being mounted at a file
    <directory>/ns/user         the user namespace that the others belong to, where the pod has users of its own
    <directory>/shm             a tmpfs
    <directory>/hostname, resolv.conf

A network namespace comes from the network driver. A pid namespace lives as long as its first process does, so only pods
that share one have such a process, which the supervisor holds. All of it is found again by its paths; after the machine
was started anew nothing is mounted there, and the sandbox is over.

Everything here blocks: callers use a thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs

from kube_core._kit import mounts
from kube_core.abc.runtime import RuntimeFailure, SandboxConfig
from kube_core.abc.security import IdMapping
from kube_drivers import kernel, usernamespaces
from kube_drivers.runtime.oci.cgroups import Cgroups

__all__ = ["Sandbox"]

_SHM_BYTES = 64 << 20
_RESOLV_CONF = "/etc/resolv.conf"
#: Sysctls of the ipc namespace; those of `net.` are the network namespace's.
_OF_IPC = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


@attrs.frozen
class Sandbox:
    """One pod's, in a directory of its own. `id` is the runtime's for it."""

    id: str
    directory: Path
    config: SandboxConfig

    @property
    def cgroup(self) -> str:
        return self.config.cgroup_parent or f"/kube-core/{self.id}"

    @property
    def own_hostname(self) -> bool:
        """A pod in the host's network has the host's name, as upstream has it."""
        return not self.config.host_network

    @property
    def hostname(self) -> str:
        return self.config.hostname or (os.uname().nodename if not self.own_hostname else self.config.name)

    @property
    def shm(self) -> str:
        return "/dev/shm" if self.config.host_ipc else str(self.directory / "shm")

    @property
    def files(self) -> dict[str, str]:
        return {f"/etc/{name}": str(self.directory / name) for name in ("hostname", "resolv.conf")}

    @property
    def users(self) -> str:
        """Where the pod's user namespace is pinned; "": its users are the host's."""
        return str(self.directory / "ns" / "user") if self.config.user_namespace is not None else ""

    @property
    def whole(self) -> bool:
        """Whether what it holds is still there."""
        if not self.directory.is_dir():
            return False
        pinned = [self.directory / "ns" / kind for kind in self._kinds()]
        if users := self.users:
            pinned.append(Path(users))
        return all(mounts.is_mount(path) for path in pinned) and self._has_network()

    def namespaces(self, pid: str | None) -> dict[str, str]:
        """By kind, those that a container joins, or has of its own (""). `pid`: None leaves it in the host's."""
        found: dict[str, str] = {kind: str(self.directory / "ns" / kind) for kind in self._kinds()}
        if users := self.users:
            found["user"] = users
        if self.config.namespace_path and not self.config.host_network:
            found["network"] = self.config.namespace_path
        return found if pid is None else {**found, "pid": pid}

    def make(self, cgroups: Cgroups) -> None:
        """Raises `RuntimeFailure`; what was made until then is `unmake`'s."""
        config = self.config
        try:
            (self.directory / "ns").mkdir(parents=True, mode=0o711)
            for name, content in (("hostname", self.hostname + "\n"), ("resolv.conf", _resolver(config))):
                (self.directory / name).write_text(content)
                (self.directory / name).chmod(0o644)
                os.chown(self.directory / name, self._root_id, self._root_id)
            if not config.host_ipc:
                (self.directory / "shm").mkdir()
                options = f"mode=1777,size={_SHM_BYTES},uid={self._root_id},gid={self._root_id}"
                mounts.mount("tmpfs", self.directory / "shm", options, flags=0b1110)
            if self.config.user_namespace is not None:
                self._make_users(self.config.user_namespace)
            elif kinds := self._kinds():
                kernel.pin_namespaces(kinds, self.directory / "ns", self._settle_in)
            self._set_network_sysctls()
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise RuntimeFailure(f"the namespaces of the pod cannot be made: {error.strerror}{where}") from None
        cgroups.create(self.cgroup, config.resources)

    def unmake(self, cgroups: Cgroups) -> None:
        """Let go of everything; again, if need be."""
        for path in mounts.mounts_below(self.directory):
            with contextlib.suppress(OSError):
                mounts.unmount(path)
        cgroups.remove(self.cgroup)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _root_id(self) -> int:
        """Whom the pod's root is to the host."""
        return self.config.user_namespace.host_id if self.config.user_namespace is not None else 0

    def _make_users(self, ids: IdMapping) -> None:
        """The user namespace, or rather that of the pod's network; and the others, which belong to it."""
        place, network = self.directory / "ns", self.config.namespace_path
        within = str(place / "user") if network and usernamespaces.owner_of(network, place / "user") else ""
        usernamespaces.pin_namespaces_of_users(self._kinds(), place, ids.host_id, ids.length, within=within)
        kernel.in_namespace(str(place / "uts"), "uts", self._take_name)
        self._set_sysctls(lambda name, value: _set_as_users(place, name, value))

    def _kinds(self) -> tuple[kernel.NamespaceKind, ...]:
        ipc: tuple[kernel.NamespaceKind, ...] = () if self.config.host_ipc else ("ipc",)
        return (*ipc, "uts") if self.own_hostname else ipc

    def _has_network(self) -> bool:
        path = self.config.namespace_path
        return not path or self.config.host_network or mounts.is_mount(Path(path))

    def _settle_in(self) -> None:
        """In the new namespaces."""
        self._take_name()
        self._set_sysctls(_set)

    def _take_name(self) -> None:
        if self.own_hostname:
            import socket

            socket.sethostname(self.hostname)

    def _set_sysctls(self, give: Callable[[str, str], None]) -> None:
        for name, value in self.config.sysctls.items():
            if name.startswith(_OF_IPC):
                give(name, value)
            elif not name.startswith("net."):
                raise RuntimeFailure(f'sysctl "{name}" is not in a separate kernel namespace')

    def _set_network_sysctls(self) -> None:
        wanted = {name: value for name, value in self.config.sysctls.items() if name.startswith("net.")}
        if not wanted:
            return
        if not self.config.namespace_path or self.config.host_network:
            raise RuntimeFailure(f"sysctls of the host's network are not the pod's to set: {', '.join(sorted(wanted))}")

        def act() -> None:
            for name, value in wanted.items():
                _set(name, value)

        kernel.in_namespace(self.config.namespace_path, "net", act)


def _set(name: str, value: str) -> None:
    path = Path("/proc/sys", name.replace(".", "/"))
    try:
        path.write_text(value)
    except OSError as error:
        raise RuntimeFailure(f"the sysctl {name} cannot be set to {value}: {error.strerror}") from None


def _set_as_users(namespaces: Path, name: str, value: str) -> None:
    """As the root of a pod's own users, whom alone the kernel lets."""
    enter = ["nsenter", f"--user={namespaces / 'user'}", f"--ipc={namespaces / 'ipc'}"]
    done = subprocess.run(
        [*enter, "tee", f"/proc/sys/{name.replace('.', '/')}"], input=value, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeFailure(f"the sysctl {name} cannot be set to {value}: {done.stderr.strip()}")


def _resolver(config: SandboxConfig) -> str:
    if config.dns is not None:
        return config.dns.text()
    try:
        return Path(_RESOLV_CONF).read_text()
    except OSError:
        return ""
