"""The contract of a runtime driver (CRI-shaped): it runs containers, grouped in sandboxes, on one node.

A driver is made once a node. The node agent decides; a driver does as it is told, and remembers.

* **Names.** A sandbox is one run of a pod; a container is one run of a container of a pod (`attempt` counts them). Ids
  are the driver's own and never used twice.
* **Order.** run sandbox → create container → start → stop → remove; stop and remove the sandbox last. Calls about
  different containers may overlap; calls about one container are made one after another, except `stop_container`.
* **Idempotence.** Stopping what has stopped and removing what is gone does nothing. Starting twice is an error.
  Stopping or removing a sandbox ends and removes every container in it first.
* **Atomicity.** A call that raised has left nothing that `list_*` does not show. What `list_*` shows is the truth, of
  this moment, and cheap: it never waits for another process.
* **Processes.** When a container's main process ends, everything that it started ends with it, and only then is the
  container `exited`. `stop_container` asks the main process to end (by its `stop_signal`, otherwise the image's,
  otherwise SIGTERM) and ends all by force after `grace` seconds. Called again with less grace, the shorter one holds.
* **Cancellation.** A cancelled call may have happened. A cancelled `stop_container` has sent its signal, and the driver
  still ends the container by force at the end of its grace.
* **Restarts.** Where `capabilities.persistent`, containers outlive the agent: a new driver object with the same state
  directory finds them with `start`, with the exit codes and logs of those that ended meanwhile. `stop` lets go of
  them, `end` ends and forgets them all.
* **Capabilities.** What only some runtimes can do is a field of `RuntimeCapabilities`, and has a default here. The
  agent asks the capability before it asks for the thing; what is configured and not claimed (a namespace, a right, a
  limit) is left aside by the runtime, which runs the container all the same.
* **Logs.** A container's log is a file in CRI's format at `ContainerStatus.log_path`. Whoever rotates it renames the
  file and calls `reopen_log`; what was renamed is no longer the runtime's, but for `remove_container`, which removes
  every file of this run (unless the agent chose the path: then they are the agent's).
* **Errors.** `RuntimeFailure` (and `NotFound` for an unknown id) with one clear line that a person finds in an event.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar, Literal

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.failures import DriverFailure
from kube_core.abc.security import DEFAULT_SECURITY, IdMapping, SecurityContext
from kube_core.abc.sessions import ExecRequest, ExecSession, Stream
from kube_core.abc.snapshots import Snapshots
from kube_core.abc.transport import ByteStream
from kube_core.abc.usage import RuntimeUsage

__all__ = [
    "NO_LIMITS",
    "ContainerConfig",
    "ContainerEvent",
    "ContainerNotFound",
    "ContainerState",
    "ContainerStatus",
    "ContainerUser",
    "Device",
    "DnsConfig",
    "ExecRequest",
    "ExecResult",
    "ExecSession",
    "HandlerFeatures",
    "ImageFailure",
    "ImageStatus",
    "ImageUsage",
    "LogLine",
    "LogOptions",
    "Mount",
    "NetworkProbe",
    "PortMapping",
    "ProbeAnswer",
    "Propagation",
    "RegistryCredentials",
    "Resources",
    "Runtime",
    "RuntimeCapabilities",
    "RuntimeFailure",
    "SandboxConfig",
    "SandboxStatus",
    "Stream",
]

ContainerState = Literal["created", "running", "exited"]
Propagation = Literal["None", "HostToContainer", "Bidirectional"]


#: Bytes of each of a command's streams that are collected; what it says beyond is left out.
_MOST_OUTPUT = 16 << 20


class RuntimeFailure(DriverFailure):
    """Why it could not be done: one clear line. `reason` is the container state's reason where there is a known one."""

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class ContainerNotFound(RuntimeFailure):
    """There is no container, or no sandbox, of that id."""


class ImageFailure(RuntimeFailure):
    """An image that cannot be had. `reason`, where it is known: `InvalidImageName`, `RegistryUnavailable`, …"""


@attrs.frozen
class RuntimeCapabilities:
    processes: bool
    """Containers are processes on this host: volumes have to be real directories."""
    reachable: bool
    """What listens in a container is reached at its pod's address. Otherwise `probe` answers for it."""
    exec: bool = False
    port_forward: bool = False
    persistent: bool = False
    """Containers outlive the node agent."""
    networked: bool = False
    """The runtime gives pods their addresses itself (`SandboxStatus.ips`)."""
    own_root: bool = False
    """Containers have a root file system of their own, in which mounts stand at their paths with what was asked of them
    (read-only, propagation), and `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` are theirs."""
    confinement: bool = False
    """Everything of `SecurityContext`, and of `SandboxConfig` its namespaces and sysctls, is carried out."""
    supplemental_groups_policy: bool = False
    """A container's policy `Strict` is carried out, too."""
    user_namespaces: bool = False
    image_volumes: bool = False
    """A `Mount` may name an image instead of a path."""
    resize: bool = False
    """`update_container` and `update_sandbox` change what runs."""
    attach: bool = False
    images: bool = False
    """Images take place that can be freed: `list_images`, `remove_image` and `image_usage` are there."""
    log_rotation: bool = False
    """`ContainerStatus.log_path` is said, and `reopen_log` is there."""
    stop_signals: bool = False
    """A container's own `stop_signal` is what it is asked to end by; otherwise that is its image's."""
    ends_commands: bool = False
    """A command that is given up ends with all that it started; otherwise its first process may be all that ends."""
    behaviours: bool = False
    """It is made with `behaviours`, by image: what a container of that image does (`ClusterConfig.behaviours`)."""
    snapshot: bool = False
    """`snapshot` and `restore` carry the driver's state to another cluster (`kube_core.abc.snapshots`)."""


@attrs.frozen
class Resources:
    """Limits by cgroups, in the terms of CRI. 0: not set.

    `cpu_shares` is in v1's terms (1024 for one CPU; 2 at least), `cpu_quota` in microseconds of each `cpu_period`.
    """

    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 100_000
    memory_bytes: int = 0
    pids: int = 0
    oom_score_adj: int = 0
    hugepages: Mapping[str, int] = attrs.field(factory=dict)
    """Bytes by page size (`2Mi`, `1Gi`)."""
    unified: Mapping[str, str] = attrs.field(factory=dict)
    """Files of a cgroup v2, for what has no field here (`memory.min`)."""


#: Of a container, or a pod, that limits nothing.
NO_LIMITS = Resources()


@attrs.frozen
class DnsConfig:
    """What a pod's resolver is told."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def text(self) -> str:
        """As `resolv.conf` says it."""
        lines = [f"nameserver {server}" for server in self.servers]
        lines += [f"search {' '.join(self.searches)}"] if self.searches else []
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(line + "\n" for line in lines)


@attrs.frozen
class PortMapping:
    """A port of the pod that the host's port leads to. `host_ip` "": every address of the host."""

    container_port: int
    host_port: int
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    host_ip: str = ""


@attrs.frozen
class SandboxConfig:
    """One run of a pod. `ips` and `namespace_path` come from the network driver.

    `handler` is that of the pod's RuntimeClass, "" without one: which of a driver's ways to run it. A driver that has
    no such way refuses the sandbox; one that only pretends takes any.
    """

    namespace: str
    name: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    """As the pod's processes see it, of at most 63 characters (the whole name where `setHostnameAsFQDN` says so)."""
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    ips: tuple[str, ...] = ()
    namespace_path: str = ""
    """The network namespace to join; "": the host's with `host_network`, otherwise the runtime's own business."""
    host_network: bool = False
    log_directory: str = ""
    handler: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    host_pid: bool = False
    host_ipc: bool = False
    shared_processes: bool = False
    """One pid namespace for all containers (`shareProcessNamespace`); otherwise each has its own, or the host's."""
    user_namespace: IdMapping | None = None
    """The pod's own users (`hostUsers: false`). What belongs to root of the host in mounts belongs to root in them."""
    sysctls: Mapping[str, str] = attrs.field(factory=dict)
    dns: DnsConfig | None = None
    """None: the host's resolv.conf."""
    ports: tuple[PortMapping, ...] = ()
    security: SecurityContext = DEFAULT_SECURITY
    """Of the sandbox itself, where it is a process (user and groups, seccomp, whether anything in it is privileged)."""
    cgroup_parent: str = ""
    """The cgroup under which the pod's are (`/kubepods/burstable/pod<uid>`); "": where the runtime likes."""
    resources: Resources = NO_LIMITS
    """Of the pod as a whole, with its overhead: the limits of its cgroup."""


@attrs.frozen
class SandboxStatus:
    """`created_at` is in seconds since the epoch."""

    id: str
    config: SandboxConfig
    ready: bool
    created_at: float
    ips: tuple[str, ...] = ()


@attrs.frozen
class Mount:
    """A directory or file of the host at a path of the container. `name` is the volume's.

    The agent has resolved a `subPath`, and made it; a runtime follows no link below `host_path`. `image` instead of
    a path: the content of this image (its `image_path`), read-only (where `capabilities.image_volumes`).
    """

    name: str
    container_path: str
    host_path: str
    read_only: bool = False
    propagation: Propagation = "None"
    recursive_read_only: bool = False
    """What is mounted below is read-only, too; never without `read_only`."""
    image: str = ""
    image_path: str = ""


@attrs.frozen
class Device:
    """A device of the host that a container may use. `container_path` "": the same; `permissions` of `rwm`."""

    host_path: str
    container_path: str = ""
    permissions: str = "rwm"


@attrs.frozen
class ContainerConfig:
    """One run of a container. An empty `command` and `args` leave what the image says."""

    name: str
    image: str
    attempt: int = 0
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: Mapping[str, str] = attrs.field(factory=dict)
    mounts: tuple[Mount, ...] = ()
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    """The agent's own notes; given back as they are in `ContainerStatus.config`."""
    stdin: bool = False
    stdin_once: bool = False
    """stdin ends with the first who was attached to it and left."""
    tty: bool = False
    security: SecurityContext = DEFAULT_SECURITY
    resources: Resources = NO_LIMITS
    stop_signal: str = ""
    """`SIGUSR1`; "": the image's, otherwise SIGTERM."""
    target_id: str = ""
    """The container whose pid namespace it shares (an ephemeral container with `targetContainerName`)."""
    devices: tuple[Device, ...] = ()
    """What it may use besides what every container has (raw block volumes)."""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    """The agent's own, as `annotations` are."""
    log_path: str = ""
    """Its log, below the sandbox's `log_directory`; "": as the runtime names it."""


@attrs.frozen
class ContainerUser:
    """Who a container's first process is."""

    user: int
    group: int
    supplemental_groups: tuple[int, ...] = ()


@attrs.frozen
class ContainerStatus:
    """Times are in seconds since the epoch; 0.0: not yet. `exit_code` is 128 + the signal for a killed process."""

    id: str
    sandbox_id: str
    pod_uid: str
    config: ContainerConfig
    state: ContainerState
    created_at: float
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    """Once it exited: `Completed`, `Error`, `OOMKilled`, `StartError`, …"""
    message: str = ""
    image_id: str = ""
    log_path: str = ""
    """Its log on this host (in CRI's format); "": none that anyone could read there."""
    user: ContainerUser | None = None
    """Where it is known."""
    stop_signal: str = ""
    """By which it is asked to end, where that is known."""
    resources: Resources | None = None
    """What it is limited to at present, where that may be another thing than its configuration says."""


@attrs.frozen
class ContainerEvent:
    """Something about a container changed; ask `list_containers` what. `container_id` "": many may have.

    `pod_uid` "": the runtime itself did, so that what failed may be tried again at once.
    """

    pod_uid: str
    container_id: str = ""


@attrs.frozen
class ExecResult:
    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""


@attrs.frozen
class LogOptions:
    """`tail_lines` -1: all. `since` in seconds since the epoch. `follow` goes on until the container has exited."""

    follow: bool = False
    tail_lines: int = -1
    since: float = 0.0


@attrs.frozen(slots=True)
class LogLine:
    """`timestamp` is RFC 3339 in UTC. `partial`: the line goes on in the next one; `content` has no newline."""

    timestamp: str
    stream: Stream
    content: bytes
    partial: bool = False


@attrs.frozen
class ImageStatus:
    """`entrypoint`, `command` and `user` (`1000`, `www:www`; "": root) as the image's configuration has them."""

    id: str
    references: tuple[str, ...] = ()
    """Its names: with tags, and with digests."""
    size: int = 0
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str | None = None
    """None: not known."""
    pinned: bool = False
    """Never to be removed to make room."""


@attrs.frozen
class HandlerFeatures:
    """What one of a runtime's handlers can do. `name` "": the one that pods without a RuntimeClass get."""

    name: str
    recursive_read_only_mounts: bool
    user_namespaces: bool


@attrs.frozen
class ImageUsage:
    """The file system of the images: what images take of it, and what there is of it. Bytes."""

    mountpoint: str
    used: int
    capacity: int
    available: int
    inodes_used: int = 0


@attrs.frozen
class RegistryCredentials:
    """Who pulls. Either user and password, or one of the tokens."""

    username: str = ""
    password: str = attrs.field(default="", repr=False)
    identity_token: str = attrs.field(default="", repr=False)
    registry_token: str = attrs.field(default="", repr=False)


@attrs.frozen
class NetworkProbe:
    """An HTTP or TCP probe of a container that cannot be reached over the network."""

    kind: Literal["http", "tcp", "grpc"]
    port: int
    path: str = ""


@attrs.frozen
class ProbeAnswer:
    """`warning`: it counts as a success, and `output` says what is odd about it."""

    success: bool
    output: str = ""
    warning: bool = False


class Runtime(Snapshots, abc.ABC):
    """The containers of one node."""

    capabilities: ClassVar[RuntimeCapabilities]
    #: What `nodeInfo.containerRuntimeVersion` says before its version.
    name: ClassVar[str]
    #: And after it; "": it is of this program, and has this program's version. Known, as the name, once it is started.
    version: str = ""

    def __init__(self, *, clock: Clock, node_name: str, state_directory: str) -> None:
        """`state_directory`: "" keeps nothing on disk."""
        self.clock = clock
        self.node_name = node_name
        self.state_directory = state_directory

    @abc.abstractmethod
    async def start(self) -> None:
        """Make ready; find earlier containers again. Asked again while started, it does nothing.

        Raises `RuntimeFailure`.
        """

    @abc.abstractmethod
    async def stop(self) -> None:
        """Let go. Containers go on where `capabilities.persistent`; otherwise they end."""

    @abc.abstractmethod
    async def end(self) -> None:
        """End every container by force and leave nothing behind: no process, no socket. Needs no `start` before."""

    @abc.abstractmethod
    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus: ...

    @abc.abstractmethod
    async def stop_sandbox(self, sandbox_id: str) -> None: ...

    @abc.abstractmethod
    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    @abc.abstractmethod
    def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        """Of one pod, or all; oldest first."""

    @abc.abstractmethod
    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        """Make a container of an image that is present; returns its id."""

    @abc.abstractmethod
    async def start_container(self, container_id: str) -> None:
        """Start it. One whose program cannot be started raises, and is then `exited` with reason `StartError`."""

    @abc.abstractmethod
    async def stop_container(self, container_id: str, grace: float) -> None:
        """Ask it to end; return once it has. `grace` in seconds."""

    @abc.abstractmethod
    async def remove_container(self, container_id: str) -> None:
        """Forget it and its logs, ending it by force first."""

    @abc.abstractmethod
    def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]:
        """Of one pod, or all; oldest first."""

    @abc.abstractmethod
    def events(self) -> AsyncIterator[ContainerEvent]:
        """What changes from the call on. For one reader; ends when the driver is stopped."""

    @abc.abstractmethod
    async def exec(self, container_id: str, request: ExecRequest) -> ExecSession:
        """Run a command in a running container."""

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float | None = None) -> ExecResult:
        """Run a command and collect what it says, 16 MiB of each stream. Raises `TimeoutError`, having ended it."""
        session = await self.exec(container_id, ExecRequest(tuple(command)))
        collected: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        try:
            async with self.clock.timeout(timeout):
                async for stream, data in session.output():
                    collected[stream] += data[: _MOST_OUTPUT - len(collected[stream])]
                code = await session.exit_code()
        finally:
            await session.close()
        return ExecResult(code, bytes(collected["stdout"]), bytes(collected["stderr"]))

    @abc.abstractmethod
    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        """A connection to a port of the pod."""

    @abc.abstractmethod
    def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[LogLine]:
        """What a container wrote, also after it exited, until it is removed."""

    @abc.abstractmethod
    async def pull_image(
        self, image: str, *, sandbox_id: str = "", credentials: RegistryCredentials | None = None
    ) -> ImageStatus:
        """Have the image present, for containers of this sandbox where it is named. Raises `ImageFailure`.

        It is asked for even where it is present, as its tag may mean another one now. The agent tries one set of
        credentials after the other.
        """

    @abc.abstractmethod
    async def image_status(self, image: str, *, sandbox_id: str = "") -> ImageStatus | None:
        """The image, where it is present, for containers of this sandbox where it is named. Raises `ImageFailure`."""

    async def usage(self) -> RuntimeUsage | None:
        """What each running container uses, its whole tree of processes, and the node; None: this driver cannot tell.

        With cgroups a container's figures are those of its cgroup: of version 2 `usage_usec` of `cpu.stat` times 1000,
        and `memory.current` less `inactive_file` of `memory.stat`; of version 1 `cpuacct.usage`, and
        `memory.usage_in_bytes` less `total_inactive_file`. The node's are those of the cgroup above all pods. What
        ended meanwhile, or cannot be read, is left out. Over CRI: `ListContainerStats`.
        """
        return None

    def reachable(self, container_id: str) -> bool:
        """Whether this container is reached at its pod's address; one driver may have some that are not."""
        return self.capabilities.reachable

    def attachable(self, container_id: str) -> bool:
        """Whether this container can be attached to; one driver may have some that cannot."""
        return self.capabilities.attach

    async def probe(self, container_id: str, request: NetworkProbe) -> ProbeAnswer:
        """What a network probe would find; asked only where the container is not `reachable`."""
        return ProbeAnswer(success=True)

    def problems(self) -> Sequence[str]:
        """Why no pod can be run at present, for the node's condition `Ready`; empty where all is well."""
        return ()

    def handlers(self) -> Sequence[HandlerFeatures]:
        """What each of its handlers can do, by name (where `capabilities.own_root`); those that are known."""
        return (HandlerFeatures("", True, self.capabilities.user_namespaces),)

    async def update_container(self, container_id: str, resources: Resources) -> None:
        """Change the limits of a container, which runs on (where `capabilities.resize`). All of them, not a part."""
        raise RuntimeFailure(f"the runtime {self.name} cannot change what a running container has")

    async def update_sandbox(self, sandbox_id: str, resources: Resources) -> None:
        """Change the limits of a pod as a whole (where `capabilities.resize`)."""
        raise RuntimeFailure(f"the runtime {self.name} cannot change what a running pod has")

    async def attach(self, container_id: str, request: ExecRequest) -> ExecSession:
        """The streams of a container's main process from now on (where `capabilities.attach`); `command` is empty.

        Several may be attached at once: each sees all output. `exit_code` waits for the container's end; `close`
        detaches, and ends nothing.
        """
        raise RuntimeFailure(f"the runtime {self.name} cannot attach to containers")

    async def reopen_log(self, container_id: str) -> None:
        """Its log was renamed: write to a new file from now on (where `capabilities.log_rotation`)."""

    async def list_images(self) -> Sequence[ImageStatus]:
        """Every image that is present (where `capabilities.images`)."""
        return ()

    async def remove_image(self, image_id: str) -> None:
        """Remove an image, with all its names; an unknown one does nothing. Raises `ImageFailure` for one in use."""

    async def image_usage(self) -> ImageUsage | None:
        """None where images take no place of their own."""
        return None
