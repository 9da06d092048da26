"""The driver: containers as host processes, through the supervisor.

A sandbox is a record: processes share the host's namespaces. A container's environment is its image's and its own, with
`PATH`, `HOME`, `HOSTNAME` and `POD_IP` where it does not say otherwise, and what `paths.py` describes. What it has in
common with other runtimes is in `kube_drivers.runtime.supervised`.

* **Who it is.** Where the agent is root, a process is who its security context says: user, group, further groups, by
  the machine's own `/etc/passwd`. `allowPrivilegeEscalation: false` holds everywhere. Of namespaces, capabilities and
  the rest of a security context it takes nothing: it has what the host has.
* **What it may take.** The pod's annotation `RLIMITS` has limits of processes. With `process:cgroups` a container also
  has a cgroup below its pod's, which limits it by its resources and ends with it. That takes the right to make cgroups;
  where there is none, such a driver does not start.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import (
    NO_LIMITS,
    ContainerConfig,
    ContainerNotFound,
    ContainerStatus,
    ContainerUser,
    ExecRequest,
    ImageStatus,
    Mount,
    RegistryCredentials,
    RuntimeCapabilities,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
)
from kube_core.abc.security import SecurityContext
from kube_core.abc.transport import ByteStream
from kube_drivers.runtime.connections import connect
from kube_drivers.runtime.process.images import Image, Images
from kube_drivers.runtime.process.layouts import unpack
from kube_drivers.runtime.process.paths import link_mounts, mount_variables, path_rule
from kube_drivers.runtime.supervised.driver import MadeContainer, SupervisedRuntime, signal_number
from kube_drivers.threads import to_the_end

if TYPE_CHECKING:
    from kube_drivers.runtime.oci.cgroups import Cgroups

__all__ = ["RLIMITS", "ProcessRuntime"]

#: A pod's annotation: JSON, container name (or `*`) → limit → number, "unlimited", or soft and hard one.
RLIMITS = "process.kube-core.dev/rlimits"

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MARK = "KUBE_CORE_CONTAINER"


class ProcessRuntime(SupervisedRuntime):
    """Host processes. `images` says what image names mean; by default every one means the host.

    `process:cgroups` limits them by their pods' resources. `process:portable` does without what only Linux has, as it
    is on other machines.
    """

    capabilities: ClassVar[RuntimeCapabilities] = RuntimeCapabilities(
        processes=True,
        reachable=True,
        exec=True,
        port_forward=True,
        persistent=True,
        attach=True,
        log_rotation=True,
        stop_signals=True,
        ends_commands=True,
    )
    name: ClassVar[str] = "process"

    def __init__(
        self,
        *,
        clock: Clock,
        node_name: str,
        state_directory: str,
        url: str = "process",
        images: Images | None = None,
        image_folders: Sequence[Path | str] = (),
    ) -> None:
        """`image_folders`: where images are found by name, unless a whole map (`images`) is given."""
        if not state_directory:
            raise RuntimeFailure("the process runtime needs a state directory")
        super().__init__(clock=clock, node_name=node_name, state_directory=state_directory, root=Path(state_directory))
        option = url.partition(":")[2]
        if option not in ("", "cgroups", "portable"):
            known = '"process", "process:cgroups" or "process:portable"'
            raise RuntimeFailure(f'the runtime "{url}" is not known: {known}')
        self._cgroups = _cgroups_of_machine() if option == "cgroups" else None
        self._portable = option == "portable"
        self._unpacked = self._root / "images"
        self._unpacking = asyncio.Lock()
        self.images = images or Images.from_folders((Path(folder) for folder in image_folders), self._unpacked)

    async def start(self) -> None:
        if self._cgroups is not None:
            trial = f"/kube-core/{os.getpid()}"
            try:
                await to_the_end(self._cgroups.create, trial, NO_LIMITS)
            finally:
                await to_the_end(self._cgroups.remove, trial)
        await super().start()

    async def _make_sandbox(self, identity: str, config: SandboxConfig) -> None:
        if self._cgroups is not None:
            await to_the_end(self._cgroups.create, _cgroup(identity, config), config.resources)

    async def _unmake_sandbox(self, sandbox: SandboxStatus) -> None:
        if self._cgroups is not None:
            await to_the_end(self._cgroups.remove, _cgroup(sandbox.id, sandbox.config))

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or not sandbox.ready:
            raise ContainerNotFound(f"there is no running sandbox {sandbox_id}")
        address = sandbox.ips[0] if sandbox.ips else "127.0.0.1"
        return await connect(address, port)

    async def pull_image(
        self, image: str, *, sandbox_id: str = "", credentials: RegistryCredentials | None = None
    ) -> ImageStatus:
        found = self.images.resolve(image)
        if found.layout is not None:
            # One at a time: the second finds what the first has unpacked.
            async with self._unpacking:
                if not found.ready:
                    with self.clock.hold(f"process runtime: unpack {image}"):
                        await to_the_end(unpack, found.layout, Path(found.directory))
        return found.status

    async def image_status(self, image: str, *, sandbox_id: str = "") -> ImageStatus | None:
        # The host is always present; a folder is looked at again with every pull.
        found = self.images.resolve(image)
        present = found.ready if found.layout is not None else not found.directory
        return found.status if present else None

    # -- what a container is -------------------------------------------------------------------------------------

    async def _make_container(self, identity: str, sandbox: SandboxStatus, config: ContainerConfig) -> MadeContainer:
        root = str(self._files_of(identity))
        image = self.images.resolve(config.image)
        stop_signal = config.stop_signal or image.stop_signal or "SIGTERM"
        user = _user(config.security)
        spec = {
            **self._spec(identity, sandbox.config, config, image),
            "stop_signal": signal_number(stop_signal),
            "user": user.user if user is not None else None,
            "group": user.group if user is not None else None,
            "groups": user.supplemental_groups if user is not None else (),
            "no_new_privileges": config.security.no_new_privileges,
            "rlimits": _rlimits(sandbox.config, config.name),
        }
        if self._cgroups is not None:
            cgroup = f"{_cgroup(sandbox.id, sandbox.config)}/{identity}"
            await to_the_end(partial(self._cgroups.create, cgroup, config.resources, leaf=True))
            spec["cgroup"] = {
                "doors": self._cgroups.doors(cgroup),
                "procs": self._cgroups.procs(cgroup),
                "oom": self._cgroups.kills(cgroup),
            }
        try:
            await to_the_end(_prepare, root, config.mounts, spec["cwd"], user)
        except OSError as error:
            raise RuntimeFailure(f"cannot prepare {root}: {error.strerror}") from None
        return MadeContainer(spec, image.status.id, user, stop_signal)

    async def _discard_container(self, container: ContainerStatus) -> None:
        sandbox = self._sandboxes.get(container.sandbox_id)
        if self._cgroups is not None and sandbox is not None:
            await to_the_end(self._cgroups.remove, f"{_cgroup(sandbox.id, sandbox.config)}/{container.id}")
        await super()._discard_container(container)

    def _clear(self) -> None:
        super()._clear()
        shutil.rmtree(self._unpacked, ignore_errors=True)

    def _exec_request(self, container: ContainerStatus, request: ExecRequest) -> dict[str, Any]:
        rewrite = path_rule(container.config.mounts)
        return {"argv": [rewrite(word) for word in request.command]}

    def _spec(self, identity: str, sandbox: SandboxConfig, config: ContainerConfig, image: Image) -> dict[str, Any]:
        """What the supervisor is told to run."""
        root = str(self._files_of(identity))
        rewrite = path_rule(config.mounts)
        argv = [rewrite(word) for word in image.argv(config.command, config.args)]
        if not argv:
            raise RuntimeFailure("no command specified", reason="CreateContainerError")
        env = {
            "PATH": os.environ.get("PATH", _PATH),
            "HOME": root,
            "HOSTNAME": sandbox.hostname or sandbox.name,
            "LANG": "C.UTF-8",
            **image.env,
            **({"POD_IP": sandbox.ips[0]} if sandbox.ips else {}),
            **mount_variables(config.mounts),
            **{name: rewrite(value) for name, value in config.env.items()},
            "KUBE_ROOT": root,
            _MARK: identity,
        }
        working_dir = rewrite(config.working_dir)
        if working_dir and working_dir == config.working_dir:
            inside = os.path.join(root, working_dir.lstrip("/"))
            working_dir = working_dir if os.path.isdir(working_dir) else inside
        return {
            "argv": argv,
            "env": env,
            "cwd": working_dir or image.working_dir or root,
            "log": self._log_path(sandbox, config),
            "tty": config.tty,
            "stdin": config.stdin,
            "stdin_once": config.stdin_once,
        }


def _cgroups_of_machine() -> Cgroups:
    from kube_drivers.runtime.oci.cgroups import Cgroups  # lazily: most nodes limit nothing

    try:
        return Cgroups.of_machine()
    except OSError as error:
        raise RuntimeFailure(f"this machine has no cgroups: {error.strerror}") from None


def _cgroup(sandbox_id: str, config: SandboxConfig) -> str:
    return config.cgroup_parent or f"/kube-core/{sandbox_id}"


def _user(security: SecurityContext) -> ContainerUser | None:
    """Who a process is to be; None: who the agent is, which only root can change."""
    if os.geteuid() != 0 or (security.user, security.group, security.supplemental_groups) == (None, None, ()):
        return None
    from kube_drivers.runtime.oci.users import resolve_user  # lazily: few pods name users

    return resolve_user(Path("/"), "", security).id


def _rlimits(sandbox: SandboxConfig, container: str) -> Mapping[str, tuple[int, int]]:
    """By the kernel's names (`NOFILE`), soft and hard. Raises `RuntimeFailure`."""
    text = sandbox.annotations.get(RLIMITS)
    if not text:
        return {}
    try:
        described = json.loads(text)
        wanted = {**described.get("*", {}), **described.get(container, {})}
        return {_rlimit_name(name): _rlimit(value) for name, value in wanted.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise RuntimeFailure(f"the annotation {RLIMITS} cannot be read: {error}") from None


def _rlimit_name(name: str) -> str:
    bare = name.upper().removeprefix("RLIMIT_")
    if not hasattr(resource, f"RLIMIT_{bare}"):
        raise ValueError(f"{name} is no limit of this machine")
    return bare


def _rlimit(value: Any) -> tuple[int, int]:
    soft, hard = value if isinstance(value, list) else (value, value)
    return _number(soft), _number(hard)


def _number(value: Any) -> int:
    return resource.RLIM_INFINITY if value == "unlimited" else int(value)


def _prepare(root: str, mounts: Sequence[Mount], working_dir: str, user: ContainerUser | None) -> None:
    os.makedirs(root)
    if user is not None:
        os.chown(root, user.user, user.group)
    link_mounts(root, mounts)
    if working_dir.startswith(root):
        os.makedirs(working_dir, exist_ok=True)
        if user is not None:
            os.chown(working_dir, user.user, user.group)
