"""CRI's `PodSandboxConfig` as the runtime's `SandboxConfig`. Pure.

CRI says of each namespace whose it is: the pod's (which is what is meant where nothing is said), the container's, or
the node's. Of pids `POD` is one namespace for all of the pod's containers, as with `shareProcessNamespace`.

Refused is what the contract cannot say: users of a pod's own in more than one piece, and the namespaces of one
container for a whole pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kube_core.abc.runtime import NO_LIMITS, DnsConfig, PortMapping, Resources, SandboxConfig
from kube_core.abc.security import IdMapping, SecurityContext
from kube_drivers.runtime.criserver.refusals import invalid
from kube_drivers.runtime.criserver.resources import resources_of, together

__all__ = ["ADDRESS_NOTE", "POD", "namespaces_of", "sandbox_config", "without_notes"]

POD, CONTAINER, NODE, TARGET = range(4)
#: Annotations that are notes of this server begin so; nobody else is shown them.
_NOTES: Final = "criserver.kube-core.dev/"
#: By which name the network knows the sandbox.
ADDRESS_NOTE: Final = f"{_NOTES}network"

_PROTOCOLS: Final = ("TCP", "UDP", "SCTP")
#: Characters of a host's name that the kernel takes.
_LONGEST_NAME: Final = 63


def sandbox_config(config: Any, handler: str, key: str) -> SandboxConfig:
    """`key`: what its network and its cgroup are named by. Without addresses. Raises `Refusal`."""
    about = config.metadata
    if not (config.HasField("metadata") and about.name and about.namespace and about.uid):
        raise invalid("sandbox config must include metadata with name, namespace and uid")
    linux, security = config.linux, config.linux.security_context
    options = security.namespace_options
    for kind in ("network", "ipc"):
        if getattr(options, kind) not in (POD, NODE):
            raise invalid(f"the {kind} namespace of a pod is its own or the node's")
    if options.pid == TARGET:
        raise invalid("a pod has no container whose pid namespace it could share")
    dns = config.dns_config
    return SandboxConfig(
        namespace=about.namespace,
        name=about.name,
        uid=about.uid,
        attempt=about.attempt,
        hostname=config.hostname or ("" if options.network == NODE else about.name[:_LONGEST_NAME].rstrip("-.")),
        annotations={**config.annotations, ADDRESS_NOTE: key},
        labels=dict(config.labels),
        host_network=options.network == NODE,
        log_directory=config.log_directory,
        handler=handler,
        host_pid=options.pid == NODE,
        host_ipc=options.ipc == NODE,
        shared_processes=options.pid == POD,
        user_namespace=_users(options.userns_options) if options.HasField("userns_options") else None,
        sysctls=dict(linux.sysctls),
        dns=DnsConfig(tuple(dns.servers), tuple(dns.searches), tuple(dns.options))
        if config.HasField("dns_config")
        else None,
        ports=tuple(_port(each) for each in config.port_mappings),
        security=SecurityContext(privileged=security.privileged),
        cgroup_parent=f"{linux.cgroup_parent.rstrip('/')}/{key}" if linux.cgroup_parent else "",
        resources=_resources(linux),
    )


def namespaces_of(config: SandboxConfig) -> Mapping[str, Any]:
    """Whose a sandbox's namespaces are, as a `NamespaceOption`."""
    users = config.user_namespace
    mapped = {"host_id": users.host_id, "container_id": 0, "length": users.length} if users is not None else None
    return {
        "network": NODE if config.host_network else POD,
        "pid": NODE if config.host_pid else POD if config.shared_processes else CONTAINER,
        "ipc": NODE if config.host_ipc else POD,
        **({"userns_options": {"mode": POD, "uids": [mapped], "gids": [mapped]}} if mapped is not None else {}),
    }


def without_notes(annotations: Mapping[str, str]) -> dict[str, str]:
    """As the client gave them."""
    return {name: value for name, value in annotations.items() if not name.startswith(_NOTES)}


def _users(options: Any) -> IdMapping | None:
    if options.mode == NODE:
        if options.uids or options.gids:
            raise invalid("ids are mapped where a pod has users of its own")
        return None
    if options.mode != POD:
        raise invalid(f"unsupported user namespace mode: {options.mode}")
    if len(options.uids) != 1 or len(options.gids) != 1 or options.uids[0] != options.gids[0]:
        raise invalid("a pod's users and groups are mapped in one piece, both alike")
    mapping = options.uids[0]
    if mapping.container_id != 0:
        raise invalid("the mapping of a pod's users begins with the id 0")
    return IdMapping(mapping.host_id, mapping.length)


def _port(mapping: Any) -> PortMapping:
    protocol = _PROTOCOLS[mapping.protocol] if mapping.protocol < len(_PROTOCOLS) else ""
    if not protocol:
        raise invalid(f"unknown protocol {mapping.protocol}")
    return PortMapping(mapping.container_port, mapping.host_port, protocol, mapping.host_ip)  # type: ignore[arg-type]


def _resources(linux: Any) -> Resources:
    if not linux.HasField("resources"):
        return NO_LIMITS
    own = resources_of(linux.resources)
    return together(own, resources_of(linux.overhead)) if linux.HasField("overhead") else own
