"""Whether a node runs a pod that was bound to it: what the scheduler saw may not be what is there. Pure but for sums.

In upstream's order: the node's pressure and shutdown, system controls, the operating system, room, affinity, taints. A
refusal makes the pod `Failed`, with its reason; a controller makes another one elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kube_core.api.nodeselectors import matches_selector
from kube_core.api.taints import tolerates
from kube_core.meta.documents import Document, annotations_of, labels_of, name_of
from kube_core.node.pods.allocations import Refusal
from kube_core.node.pods.host import Host
from kube_core.node.pods.limits import qos_class

__all__ = ["CRITICAL_PRIORITY", "MIRROR", "STATIC_SOURCE", "admit", "forbidden_sysctl", "is_critical", "is_static"]

CRITICAL_PRIORITY = 2_000_000_000
#: Marks a pod that comes from a file; its value there is `file`.
STATIC_SOURCE = "kubernetes.io/config.source"
#: Marks what shows such a pod in the API.
MIRROR = "kubernetes.io/config.mirror"

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_MEMORY_PRESSURE = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
_SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
_OF_IPC = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def is_static(pod: Document) -> bool:
    """Whether it comes from a file of this node."""
    return annotations_of(pod).get(STATIC_SOURCE, "api") != "api"


def is_critical(pod: Document) -> bool:
    """Whether the node itself needs it."""
    return is_static(pod) or int(pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY


async def admit(host: Host, pod: Document) -> Refusal | None:
    """None: it may run here, and has its resources."""
    refusal = _refusal(host, pod)
    if refusal is not None:
        # The node may be another one by now than the scheduler's choice was made for, and than the last one seen here.
        await host.see_node()
        refusal = _refusal(host, pod)
    if refusal is None:
        host.allocations.grant(pod)
    return refusal


def forbidden_sysctl(pod: Document, allowed: Iterable[str]) -> Refusal | None:
    """System controls are safe, or allowed by name, and belong to a namespace that the pod has for itself."""
    spec = pod["spec"]
    for each in (spec.get("securityContext") or {}).get("sysctls") or ():
        name = str(each["name"]).replace("/", ".")
        if not (name in _SAFE_SYSCTLS or any(_fits(name, pattern) for pattern in allowed)):
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted')
        if spec.get("hostNetwork") and name.startswith("net."):
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowed with host net enabled')
        if spec.get("hostIPC") and name.startswith(_OF_IPC):
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowed with host ipc enabled')
    return None


def _refusal(host: Host, pod: Document) -> Refusal | None:
    return (
        _under_pressure(host, pod)
        or _shutting_down(host)
        or forbidden_sysctl(pod, host.settings.allowed_unsafe_sysctls)
        or _wrong_system(host, pod)
        or host.allocations.room_for(pod)
        or _unwanted(host, pod)
    )


def _fits(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _under_pressure(host: Host, pod: Document) -> Refusal | None:
    """A node short of something takes critical pods only; short of memory alone, those that asked for theirs, too."""
    conditions = host.pressures()
    if not conditions or is_critical(pod):
        return None
    if set(conditions) == {"MemoryPressure"} and (
        qos_class(pod) != "BestEffort" or tolerates(pod["spec"].get("tolerations") or (), _MEMORY_PRESSURE)
    ):
        return None
    return Refusal("Evicted", f"The node had condition: [{' '.join(conditions)}]. ")


def _shutting_down(host: Host) -> Refusal | None:
    if host.shutting_down():
        return Refusal("NodeShutdown", "Pod was rejected as the node is shutting down.")
    return None


def _wrong_system(host: Host, pod: Document) -> Refusal | None:
    spec = pod["spec"]
    ours = labels_of(host.node() or {}).get("kubernetes.io/os")
    wanted = (spec.get("nodeSelector") or {}).get("kubernetes.io/os")
    if wanted and ours and wanted != ours:
        return Refusal(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        )
    if (spec.get("os") or {}).get("name") not in (None, ours) and ours:
        return Refusal("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    return None


def _unwanted(host: Host, pod: Document) -> Refusal | None:
    """What the pod says of nodes, or the node of pods."""
    spec, node = pod["spec"], host.node() or {}
    labels: Mapping[str, str] = labels_of(node)
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    selected = (spec.get("nodeSelector") or {}).items() <= labels.items()
    if not selected or (required and not matches_selector(required, labels, name_of(node))):
        return Refusal(
            "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )
    taints = [each for each in (node.get("spec") or {}).get("taints") or () if each.get("effect") == "NoExecute"]
    if not is_static(pod) and any(not tolerates(spec.get("tolerations") or (), each) for each in taints):
        return Refusal(
            "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
        )
    return None
