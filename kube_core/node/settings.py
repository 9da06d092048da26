"""What a kubelet may be told beyond which node it is: the fields of upstream's `KubeletConfiguration` that mean
something here, by their names, with upstream's defaults but for two. Times are in seconds, sizes in bytes.

`NodeConfig.kubelet` carries it; each part of the node reads its own fields. Nothing is decided here.

Two defaults are not upstream's: nodes of one program share their machine with each other and with whoever works at it,
so that, as in other clusters of that kind, nothing is evicted and no image removed because the machine fills up, unless
thresholds say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

__all__ = ["DEFAULT_SETTINGS", "UPSTREAM_EVICTION", "KubeletSettings", "ShutdownPriority"]

#: The thresholds of upstream's kubelet, for a node that has its machine to itself.
UPSTREAM_EVICTION: Mapping[str, str] = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}


@attrs.frozen
class ShutdownPriority:
    """Pods of this priority and above (up to the next one) have `seconds` to end when the node is shut down."""

    priority: int
    seconds: float


@attrs.frozen
class KubeletSettings:
    """One node's."""

    cluster_dns: Sequence[str] = ()
    """Addresses of the cluster's DNS; none: pods with `ClusterFirst` get what `Default` gives."""
    cluster_domain: str = "cluster.local"
    resolv_conf: str = "/etc/resolv.conf"
    """The file that pods with `Default` get; "": a resolver on the pod's own machine."""
    allowed_unsafe_sysctls: Sequence[str] = ()
    """Names, or beginnings that end in `*`."""
    pod_pids_limit: int = 0
    """How many processes a pod may have; 0: as many as the machine lets it."""
    static_pod_path: str = ""
    """A folder of pods, or a file with one, that run whatever the API says; "": none."""
    file_check_frequency: float = 20.0
    sync_frequency: float = 60.0
    """How often volumes from API objects are looked at again."""
    container_log_max_size: int = 10 * 1024 * 1024
    container_log_max_files: int = 5
    container_log_monitor_interval: float = 10.0
    image_gc_high_threshold_percent: int = 100
    """100: images are not removed for the place that they take. Upstream's default is 85."""
    image_gc_low_threshold_percent: int = 80
    image_minimum_gc_age: float = 120.0
    image_maximum_gc_age: float = 0.0
    """Images that were not used for so long are removed; 0: never for their age."""
    image_gc_period: float = 300.0
    max_container_restart_period: float = 300.0
    """`crashLoopBackOff.maxContainerRestartPeriod`."""
    eviction_hard: Mapping[str, str] = attrs.field(factory=dict)
    """`UPSTREAM_EVICTION` is what upstream has by default."""
    eviction_soft: Mapping[str, str] = attrs.field(factory=dict)
    eviction_soft_grace_period: Mapping[str, float] = attrs.field(factory=dict)
    eviction_max_pod_grace_period: int = 0
    eviction_pressure_transition_period: float = 300.0
    eviction_monitor_interval: float = 10.0
    shutdown_grace_period: float = 0.0
    """How long a shutdown waits for all pods; 0: not at all."""
    shutdown_grace_period_critical_pods: float = 0.0
    """The part of it that critical pods have, after all others."""
    shutdown_grace_period_by_pod_priority: Sequence[ShutdownPriority] = ()
    """Instead of the two above."""


DEFAULT_SETTINGS = KubeletSettings()
