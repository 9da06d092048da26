"""The driver: containers as host processes, through the supervisor.

A sandbox is a record: processes share the host's namespaces. A container's environment is its image's and its own, with
`PATH`, `HOME`, `HOSTNAME` and `POD_IP` where it does not say otherwise, and what `paths.py` describes. What it has in
common with other runtimes is in `kube_drivers.runtime.supervised`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerNotFound,
    ContainerStatus,
    ExecRequest,
    ImageStatus,
    Mount,
    RegistryCredentials,
    RuntimeCapabilities,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
)
from kube_core.abc.transport import ByteStream
from kube_drivers.runtime.connections import connect
from kube_drivers.runtime.process.images import Images
from kube_drivers.runtime.process.paths import link_mounts, mount_variables, path_rule
from kube_drivers.runtime.supervised.driver import MadeContainer, SupervisedRuntime, signal_number
from kube_drivers.threads import to_the_end

__all__ = ["ProcessRuntime"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MARK = "KUBE_CORE_CONTAINER"


class ProcessRuntime(SupervisedRuntime):
    """Host processes. `images` says what image names mean; by default every one means the host."""

    capabilities: ClassVar[RuntimeCapabilities] = RuntimeCapabilities(
        processes=True,
        reachable=True,
        exec=True,
        port_forward=True,
        persistent=True,
        attach=True,
        log_rotation=True,
    )
    name: ClassVar[str] = "process"

    def __init__(
        self,
        *,
        clock: Clock,
        node_name: str,
        state_directory: str,
        images: Images | None = None,
        image_folders: Sequence[Path | str] = (),
    ) -> None:
        """`image_folders`: where images are found by name, unless a whole map (`images`) is given."""
        if not state_directory:
            raise RuntimeFailure("the process runtime needs a state directory")
        super().__init__(clock=clock, node_name=node_name, state_directory=state_directory, root=Path(state_directory))
        self.images = images or Images.from_folders(Path(folder) for folder in image_folders)

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or not sandbox.ready:
            raise ContainerNotFound(f"there is no running sandbox {sandbox_id}")
        address = sandbox.ips[0] if sandbox.ips else "127.0.0.1"
        return await connect(address, port)

    async def pull_image(
        self, image: str, *, sandbox_id: str = "", credentials: RegistryCredentials | None = None
    ) -> ImageStatus:
        return self.images.resolve(image).status

    async def image_status(self, image: str, *, sandbox_id: str = "") -> ImageStatus | None:
        # The host is always present; a folder is looked at again with every pull.
        found = self.images.resolve(image)
        return found.status if not found.directory else None

    # -- what a container is -------------------------------------------------------------------------------------

    async def _make_container(self, identity: str, sandbox: SandboxStatus, config: ContainerConfig) -> MadeContainer:
        root = str(self._files_of(identity))
        spec, image_id = self._spec(identity, sandbox.config, config, root)
        try:
            await to_the_end(_prepare, root, config.mounts, spec["cwd"])
        except OSError as error:
            raise RuntimeFailure(f"cannot prepare {root}: {error.strerror}") from None
        return MadeContainer(spec, image_id, stop_signal=config.stop_signal or "SIGTERM")

    def _exec_request(self, container: ContainerStatus, request: ExecRequest) -> dict[str, Any]:
        rewrite = path_rule(container.config.mounts)
        return {"argv": [rewrite(word) for word in request.command]}

    def _spec(
        self, identity: str, sandbox: SandboxConfig, config: ContainerConfig, root: str
    ) -> tuple[dict[str, Any], str]:
        """What the supervisor is told to run, and the image's id."""
        image = self.images.resolve(config.image)
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
        spec = {
            "argv": argv,
            "env": env,
            "cwd": working_dir or image.working_dir or root,
            "log": self._log_path(sandbox, config),
            "tty": config.tty,
            "stdin": config.stdin,
            "stdin_once": config.stdin_once,
            "stop_signal": signal_number(config.stop_signal) if config.stop_signal else 0,
            "user": config.security.user if os.geteuid() == 0 else None,
            "group": config.security.group if os.geteuid() == 0 else None,
        }
        return spec, image.status.id


def _prepare(root: str, mounts: Sequence[Mount], working_dir: str) -> None:
    os.makedirs(root)
    link_mounts(root, mounts)
    if working_dir.startswith(root):
        os.makedirs(working_dir, exist_ok=True)
