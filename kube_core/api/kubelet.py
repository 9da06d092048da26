"""What a kubelet may be told beyond which node it is: the fields of upstream's `KubeletConfiguration` that mean
something here, by their names, with upstream's defaults but for two. Times are in seconds, sizes in bytes.

`NodeConfig.kubelet` carries it; each part of the node reads its own fields. Nothing is decided here.

Two defaults are not upstream's: nodes of one program share their machine with each other and with whoever works at it,
so that, as in other clusters of that kind, nothing is evicted and no image removed because the machine fills up, unless
thresholds say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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

    #: Addresses of the cluster's DNS; none: pods with `ClusterFirst` get what `Default` gives.
    cluster_dns: tuple[str, ...] = ()
    #: The domain of the cluster, in which pods and Services have names.
    cluster_domain: str = "cluster.local"
    #: The file that pods with `Default` get; "": a resolver on the pod's own machine.
    resolv_conf: str = "/etc/resolv.conf"
    #: Names, or beginnings that end in `*`.
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    #: How many processes a pod may have; 0: as many as the machine lets it.
    pod_pids_limit: int = 0
    #: A folder of pods, or a file with one, that run whatever the API says.
    static_pod_path: Path | None = None
    #: How often static pods are looked for.
    file_check_frequency: float = 20.0
    #: How often volumes from API objects are looked at again.
    sync_frequency: float = 60.0
    #: A log that is longer is put aside.
    container_log_max_size: int = 10 * 1024 * 1024
    #: How many files of a container are kept, with the present one.
    container_log_max_files: int = 5
    #: How often logs are looked at.
    container_log_monitor_interval: float = 10.0
    #: 100: images are not removed for the place that they take. Upstream's default is 85.
    image_gc_high_threshold_percent: int = 100
    #: How full the disk is to be once images were removed.
    image_gc_low_threshold_percent: int = 80
    #: Images are left alone for so long after they were first seen.
    image_minimum_gc_age: float = 120.0
    #: Images that were not used for so long are removed; 0: never for their age.
    image_maximum_gc_age: float = 0.0
    #: How often images are looked at.
    image_gc_period: float = 300.0
    #: `crashLoopBackOff.maxContainerRestartPeriod`.
    max_container_restart_period: float = 300.0
    #: Thresholds by signal (`memory.available`, …), as amounts or percents; `UPSTREAM_EVICTION` are upstream's own.
    eviction_hard: Mapping[str, str] = attrs.field(factory=dict)
    #: Thresholds that count once they were met for their grace period.
    eviction_soft: Mapping[str, str] = attrs.field(factory=dict)
    #: Those periods, by signal.
    eviction_soft_grace_period: Mapping[str, float] = attrs.field(factory=dict)
    #: The longest grace of a pod that is evicted for a soft threshold.
    eviction_max_pod_grace_period: int = 0
    #: How long a condition of pressure lasts beyond its cause.
    eviction_pressure_transition_period: float = 300.0
    #: How often the node looks at what it has left.
    eviction_monitor_interval: float = 10.0
    #: How long a shutdown waits for all pods; 0: not at all.
    shutdown_grace_period: float = 0.0
    #: The part of it that critical pods have, after all others.
    shutdown_grace_period_critical_pods: float = 0.0
    #: Instead of the two above.
    shutdown_grace_period_by_pod_priority: tuple[ShutdownPriority, ...] = ()

    def given(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON, of which `of` makes the same settings again."""
        fields = (field.name for field in attrs.fields(KubeletSettings))
        changed = {
            name: getattr(self, name) for name in fields if getattr(self, name) != getattr(DEFAULT_SETTINGS, name)
        }
        return {name: _plain(value) for name, value in changed.items()}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> KubeletSettings:
        """Raises `TypeError` for what are no settings."""
        found: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        if path := found.get("static_pod_path"):
            found["static_pod_path"] = Path(path)
        if priorities := found.get("shutdown_grace_period_by_pod_priority"):
            found["shutdown_grace_period_by_pod_priority"] = tuple(ShutdownPriority(**each) for each in priorities)
        return cls(**found)


def _plain(value: Any) -> Any:
    match value:
        case Path():
            return str(value)
        case tuple():
            return [_plain(each) for each in value]
        case Mapping():
            return dict(value)
        case ShutdownPriority():
            return attrs.asdict(value)
    return value


DEFAULT_SETTINGS = KubeletSettings()
