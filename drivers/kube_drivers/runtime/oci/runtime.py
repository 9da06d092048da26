"""The driver: containers by an OCI runtime, through the supervisor.

    <state directory>/oci/sandboxes/<id>/    what a pod has (`sandboxes.py`)
    <state directory>/oci/containers/<id>/   a container's root and bundle
    <state directory>/oci/state/             the OCI runtime's own

A container is made in two steps, as the contract has it: `create_container` mounts its root and writes its bundle,
`start_container` lets the OCI runtime create and start it at once. Its cgroup is that runtime's, below the pod's. When
it has ended the supervisor lets the OCI runtime forget it; its root stays until it is removed.

What is left of an agent that was killed in the middle of something is cleared away at the next start: whatever is in
those folders, mounted or not, that nobody knows of.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerNotFound,
    ContainerStatus,
    ExecRequest,
    ImageFailure,
    ImageStatus,
    ImageUsage,
    RegistryCredentials,
    Resources,
    RuntimeCapabilities,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
)
from kube_core.abc.transport import ByteStream
from kube_core.abc.usage import RuntimeUsage
from kube_drivers import usernamespaces
from kube_drivers.runtime.connections import connect, connect_in
from kube_drivers.runtime.oci import rootfs
from kube_drivers.runtime.oci.bundle import Surroundings, exec_process, make_config
from kube_drivers.runtime.oci.cgroups import Cgroups
from kube_drivers.runtime.oci.images.archives import load_archive
from kube_drivers.runtime.oci.images.pulling import pull
from kube_drivers.runtime.oci.images.references import parse_name
from kube_drivers.runtime.oci.images.registries import Registries
from kube_drivers.runtime.oci.images.store import ImageStore, StoredImage, store_directory
from kube_drivers.runtime.oci.sandboxes import Sandbox
from kube_drivers.runtime.oci.users import ResolvedUser, inside, resolve_user
from kube_drivers.runtime.supervised.driver import MadeContainer, SupervisedRuntime, signal_number
from kube_drivers.runtime.supervised.processes import SHOWN
from kube_drivers.threads import to_the_end

__all__ = ["OciRuntime"]

T = TypeVar("T")

_PROGRAMS = ("crun", "runc")
_DEFAULT_STOP = "SIGTERM"
#: Where the supervisor shows paths to who makes a container.
_SHOWN = Path(SHOWN)


class OciRuntime(SupervisedRuntime):
    """Containers. `oci:runc` (or a path) chooses the OCI runtime; otherwise crun, or runc, whichever is there."""

    capabilities: ClassVar[RuntimeCapabilities] = RuntimeCapabilities(
        processes=True,
        reachable=True,
        exec=True,
        port_forward=True,
        persistent=True,
        own_root=True,
        confinement=True,
        image_volumes=True,
        resize=True,
        attach=True,
        images=True,
        log_rotation=True,
        user_namespaces=True,
        supplemental_groups_policy=True,
        stop_signals=True,
        ends_commands=True,
    )
    name: ClassVar[str] = "oci"

    def __init__(
        self,
        *,
        clock: Clock,
        node_name: str,
        state_directory: str,
        url: str = "oci",
        image_folders: Sequence[Path | str] = (),
        images: Path | None = None,
        registries: Registries | None = None,
    ) -> None:
        """`image_folders`: archives and layouts to load at the start. `images`: the store; the machine's by default.

        `registries`: otherwise as the store's folder says. Raises `RuntimeFailure` where containers cannot be run.
        """
        if os.geteuid() != 0:
            raise RuntimeFailure("the oci runtime needs root")
        if not state_directory:
            raise RuntimeFailure("the oci runtime needs a state directory")
        root = Path(state_directory).absolute() / "oci"
        super().__init__(clock=clock, node_name=node_name, state_directory=state_directory, root=root)
        self._program = _find_program(url.partition(":")[2])
        self._store = ImageStore(images or store_directory())
        self._registries = registries
        self._archives = [Path(each) for each in image_folders]
        self._cgroups = Cgroups.of_machine()
        if not usernamespaces.available():
            self.capabilities = attrs.evolve(self.capabilities, user_namespaces=False)  # type: ignore[misc]
        self._pulling: dict[str, asyncio.Lock] = {}

    # -- images ------------------------------------------------------------------------------------------------------

    async def pull_image(
        self, image: str, *, sandbox_id: str = "", credentials: RegistryCredentials | None = None
    ) -> ImageStatus:
        name = parse_name(image)
        registries = self._registries
        if registries is None:
            registries = await to_the_end(Registries.read, self._store.directory)
        if registries.of(name.registry).offline and (present := await self._find(image)) is not None:
            return present.status
        # One pull of a name at a time: the second finds what the first brought.
        async with self._pulling.setdefault(str(name), asyncio.Lock()):
            with self.clock.hold(f"oci runtime: pull {name}"):
                await pull(self._store, name, registries, credentials)
        self._pulling.pop(str(name), None)
        found = await self._find(image)
        if found is None:
            raise ImageFailure(f'the image "{image}" was removed while it was pulled')
        return found.status

    async def image_status(self, image: str, *, sandbox_id: str = "") -> ImageStatus | None:
        found = await self._find(image)
        return found.status if found is not None else None

    async def list_images(self) -> Sequence[ImageStatus]:
        return [image.status for image in await self._with_store(self._store.images)]

    async def remove_image(self, image_id: str) -> None:
        found = await self._find(image_id)
        if found is not None:
            await self._with_store(self._store.remove, found)

    async def image_usage(self) -> ImageUsage | None:
        return await self._with_store(self._store.usage)

    async def _find(self, reference: str) -> StoredImage | None:
        return await self._with_store(self._store.find, reference)

    async def _with_store(self, act: Callable[..., T], *arguments: Any) -> T:
        with self.clock.hold("oci runtime: images"):
            return await to_the_end(act, *arguments)

    # -- pods --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        try:
            await self._with_store(self._store.open)
            for archive in filter(_is_archive, self._archives):
                await self._with_store(load_archive, self._store, archive)
        except ImageFailure as error:
            raise RuntimeFailure(str(error)) from None
        await super().start()

    async def _make_sandbox(self, identity: str, config: SandboxConfig) -> None:
        if config.user_namespace is not None and not self.capabilities.user_namespaces:
            raise RuntimeFailure("this machine's kernel does not support user namespaces for pods")
        sandbox = self._sandbox(identity, config)
        with self.clock.hold("oci runtime: make a sandbox"):
            await to_the_end(sandbox.make, self._cgroups)
        if config.shared_processes:
            await self._call("hold", key=identity, place=str(sandbox.directory), users=sandbox.users)

    async def _unmake_sandbox(self, sandbox: SandboxStatus) -> None:
        if sandbox.config.shared_processes and self._link is not None and not self._link.closed.is_set():
            await self._call("release", key=sandbox.id)
        with self.clock.hold("oci runtime: remove a sandbox"):
            await to_the_end(self._sandbox(sandbox.id, sandbox.config).unmake, self._cgroups)

    async def _found(self) -> None:
        await self._found_again()
        keep = {status.id for status in self._sandboxes.values() if status.ready}
        await to_the_end(self._sweep, keep, set(self._containers))

    async def _found_again(self) -> None:
        """Sandboxes that are not whole any more are over."""
        known = {status.id: self._sandbox(status.id, status.config) for status in self._sandboxes.values()}
        ready = [sandbox for sandbox in known.values() if self._sandboxes[sandbox.id].ready]
        broken = await to_the_end(lambda: [each.id for each in ready if not self._is_whole(each)])
        for identity in broken:
            await self.stop_sandbox(identity)

    def _is_whole(self, sandbox: Sandbox) -> bool:
        return sandbox.whole and (not sandbox.config.shared_processes or sandbox.id in self._holders)

    def _sweep(self, sandboxes: set[str], containers: set[str]) -> None:
        for path in _entries(self._root / "sandboxes"):
            if path.name not in sandboxes:
                # Without its configuration only its own cgroup is known, where the agent named none.
                Sandbox(path.name, path, SandboxConfig("", "", "")).unmake(self._cgroups)
        for path in _entries(self._root / "containers"):
            if path.name not in containers:
                self._store.release(path)
                rootfs.discard_root(path)

    def _sandbox(self, identity: str, config: SandboxConfig) -> Sandbox:
        return Sandbox(identity, self._root / "sandboxes" / identity, config)

    def _clear(self) -> None:
        super()._clear()
        for path in (*_entries(self._root / "sandboxes"), *_entries(self._root / "containers")):
            rootfs.discard_root(path)
        shutil.rmtree(self._root, ignore_errors=True)

    async def update_sandbox(self, sandbox_id: str, resources: Resources) -> None:
        status = self._sandboxes.get(sandbox_id)
        if status is None:
            raise ContainerNotFound(f"there is no sandbox {sandbox_id}")
        cgroup = self._sandbox(sandbox_id, status.config).cgroup
        await to_the_end(self._cgroups.limit, cgroup, resources)

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        status = self._sandboxes.get(sandbox_id)
        if status is None or not status.ready:
            raise ContainerNotFound(f"there is no running sandbox {sandbox_id}")
        config = status.config
        if config.namespace_path and not config.host_network:
            return await connect_in(config.namespace_path, port)
        return await connect(config.ips[0] if config.ips else "127.0.0.1", port)

    # -- containers --------------------------------------------------------------------------------------------------

    async def _make_container(self, identity: str, sandbox: SandboxStatus, config: ContainerConfig) -> MadeContainer:
        image = await self._find(config.image)
        if image is None:
            raise ImageFailure(f'the image "{config.image}" is not present on this node')
        images = {mount.image: await self._find(mount.image) for mount in config.mounts if mount.image}
        if missing := [name for name, found in images.items() if found is None]:
            raise ImageFailure(f'the image "{missing[0]}" is not present on this node')
        stop_signal = config.stop_signal or image.config.stop_signal or _DEFAULT_STOP
        number = signal_number(stop_signal)
        try:
            volumes = {name: found for name, found in images.items() if found is not None}
            user = await to_the_end(self._prepare, identity, sandbox, config, image, volumes)
        except BaseException:
            await self._give_up_container(identity)
            raise
        spec = {
            "log": self._log_path(sandbox.config, config),
            "tty": config.tty,
            "stdin": config.stdin,
            "stdin_once": config.stdin_once,
            "stop_signal": number,
            "oci": self._told(identity, self._sandbox(sandbox.id, sandbox.config)),
        }
        return MadeContainer(spec, image.id, user.id, stop_signal)

    def _prepare(
        self,
        identity: str,
        status: SandboxStatus,
        config: ContainerConfig,
        image: StoredImage,
        volumes: Mapping[str, StoredImage],
    ) -> ResolvedUser:
        """Mount the root, and what images are mounted in it; write the bundle."""
        files = self._files_of(identity)
        sandbox = self._sandbox(status.id, status.config)
        try:
            files.mkdir(parents=True, mode=0o711)
        except OSError as error:
            raise RuntimeFailure(f"{files} cannot be made: {error.strerror}") from None
        # Before they are used: an image that nobody holds may be removed.
        self._store.hold(files, [image, *volumes.values()])
        ids = status.config.user_namespace
        users = rootfs.Users(sandbox.users, ids.host_id) if ids is not None else rootfs.Users()
        root = rootfs.make_root(self._store, image, files, users)
        user = resolve_user(root, image.config.user, config.security)
        mounts = []
        for number, mount in enumerate(config.mounts):
            if mount.image:
                place = files / f"image-{number}"
                rootfs.mount_image(self._store, volumes[mount.image], place, users)
                inner = inside(place, mount.image_path)
                if not os.path.exists(inner):
                    raise RuntimeFailure(f'the image "{mount.image}" has no "{mount.image_path}"')
                if users.namespace:
                    inner = str(_SHOWN / "container" / Path(inner).relative_to(files))
                mounts.append(attrs.evolve(mount, host_path=inner, read_only=True, image=""))
            elif users.namespace:
                mounts.append(attrs.evolve(mount, host_path=_mapped(users, mount.host_path, files / f"mount-{number}")))
            else:
                mounts.append(mount)
        config = attrs.evolve(config, mounts=tuple(mounts))
        working_dir = config.working_dir or image.config.working_dir
        seen, files_of_pod, shm = root, sandbox.files, sandbox.shm
        if users.namespace:
            # As it is shown to who makes the container (`_shown`).
            seen = _SHOWN / "container" / root.name
            pod = _SHOWN / "pod"
            files_of_pod = {path: str(pod / Path(place).name) for path, place in files_of_pod.items()}
            shm = str(pod / Path(shm).name)
        if working_dir and not any(_covers(mount.container_path, working_dir) for mount in config.mounts):
            rootfs.make_directory(root, working_dir, (user.id.user, user.id.group), users)
        around = Surroundings(
            root=seen,
            cgroup=_cgroup_of(sandbox, identity),
            namespaces=sandbox.namespaces(self._pid_namespace(sandbox, config)),
            hostname=sandbox.hostname,
            shm=shm,
            files=files_of_pod,
            own_cgroup_namespace=self._cgroups.pure and not config.security.privileged,
        )
        document = make_config(status.config, config, image.config, user, around)
        (files / "config.json").write_text(json.dumps(document))
        return user

    def _unprepare(self, files: Path) -> None:
        self._store.release(files)
        rootfs.discard_root(files)

    async def _give_up_container(self, identity: str) -> None:
        await to_the_end(self._unprepare, self._files_of(identity))

    async def _discard_container(self, container: ContainerStatus) -> None:
        await self._give_up_container(container.id)
        await super()._discard_container(container)

    def _pid_namespace(self, sandbox: Sandbox, config: ContainerConfig) -> str | None:
        """As `Sandbox.namespaces` takes it."""
        if config.target_id:
            return self._processes_of(self._pids.get(config.target_id, 0))
        if sandbox.config.host_pid:
            return None
        return self._processes_of(self._holders.get(sandbox.id, 0)) if sandbox.config.shared_processes else ""

    def _processes_of(self, pid: int) -> str:
        if not pid:
            raise RuntimeFailure("the process whose namespace is to be shared has ended")
        return f"/proc/{pid}/ns/pid"

    def _told(self, identity: str, sandbox: Sandbox) -> dict[str, Any]:
        """What the supervisor is to run."""
        files, cgroup = self._files_of(identity), _cgroup_of(sandbox, identity)
        run = ["run", "--detach", "--pid-file", str(files / "pid"), "--bundle", str(files)]
        launch = self._launch(files, "pid", [*run, "--console-socket", "{console}", identity])
        return {
            "run": {**launch, "show": _shown(files, sandbox)},
            "delete": [self._program, "--root", str(self._root / "state"), "delete", "--force", identity],
            "hide": self._hidden,
            "procs": self._cgroups.procs(cgroup),
            "oom": self._cgroups.kills(cgroup),
        }

    def _launch(self, files: Path, pid_file: str, words: Sequence[str]) -> dict[str, Any]:
        log = str(files / f"{pid_file}.log")
        own = [self._program, "--root", str(self._root / "state"), "--log", log, "--log-format", "json"]
        return {"argv": [*own, *words], "pid_file": str(files / pid_file), "log": log, "hide": self._hidden}

    @property
    def _hidden(self) -> list[str]:
        return self._cgroups.hidden if os.path.basename(self._program) == "crun" else []

    def _exec_request(self, container: ContainerStatus, request: ExecRequest) -> dict[str, Any]:
        files = self._files_of(container.id)
        name = f"exec-{secrets.token_hex(8)}"
        pid_file, described = files / name, files / f"{name}.json"
        try:
            process = json.loads((files / "config.json").read_bytes())["process"]
            described.write_text(json.dumps(exec_process(process, request)))
        except OSError as error:
            raise RuntimeFailure(f"the command cannot be described in {files}: {error.strerror}") from None
        words = ["exec", "--detach", "--pid-file", str(pid_file), "--process", str(described)]
        launch = self._launch(files, name, [*words, "--console-socket", "{console}", container.id])
        return {"launch": {**launch, "remove": [str(described)]}}

    async def update_container(self, container_id: str, resources: Resources) -> None:
        container = self._known(container_id)
        status = self._sandboxes[container.sandbox_id]
        cgroup = _cgroup_of(self._sandbox(status.id, status.config), container_id)
        await to_the_end(self._cgroups.limit, cgroup, resources)
        await self._call("amend", container=container_id, meta={"resources": attrs.asdict(resources)})

    async def usage(self) -> RuntimeUsage | None:
        running = [
            (each.id, _cgroup_of(self._sandbox(each.sandbox_id, self._sandboxes[each.sandbox_id].config), each.id))
            for each in self._containers.values()
            if each.state == "running" and each.sandbox_id in self._sandboxes
        ]
        now = self.clock.now()

        def measure() -> RuntimeUsage:
            found = {identity: self._cgroups.usage(cgroup, now) for identity, cgroup in running}
            return RuntimeUsage({identity: usage for identity, usage in found.items() if usage is not None})

        return await to_the_end(measure)


def _mapped(users: rootfs.Users, path: str, place: Path) -> str:
    """A second place for what is to be mounted, where it belongs to the pod's own users."""
    try:
        place.mkdir() if os.path.isdir(path) else place.touch()
        rootfs.bind_for(users, path, place)
    except OSError as error:
        raise RuntimeFailure(f"{path} cannot be given to the pod's users: {error.strerror}") from None
    return str(_SHOWN / "container" / place.name)


def _shown(files: Path, sandbox: Sandbox) -> dict[str, str]:
    """What a pod's own users get to by a way on which nobody stands before them: what the bundle names."""
    return {"container": str(files), "pod": str(sandbox.directory)} if sandbox.users else {}


def _is_archive(path: Path) -> bool:
    """Not a folder of programs, such as the process runtime takes for images."""
    return not path.is_dir() or any((path / name).exists() for name in ("oci-layout", "manifest.json"))


def _find_program(chosen: str) -> str:
    for name in (chosen,) if chosen else _PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return found
    raise RuntimeFailure(
        f"{chosen or ' or '.join(_PROGRAMS)} is not installed: the oci runtime needs an OCI runtime (Debian: crun)"
    )


def _cgroup_of(sandbox: Sandbox, container_id: str) -> str:
    return f"{sandbox.cgroup.rstrip('/')}/{container_id}"


def _covers(outer: str, path: str) -> bool:
    bare = outer.rstrip("/")
    return path == bare or path.startswith(f"{bare}/")


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []
