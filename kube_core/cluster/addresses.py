"""Which ranges of addresses a cluster's pods and services take, and each node's part of them.

What was asked for, what the network driver declares, or upstream's usual ones. A cluster whose place on the machine is
another's takes the next one. Services keep their addresses, so a cluster with state keeps what it chose at first.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
from pathlib import Path

import orjson

from kube_core.abc.network import Network, NetworkRanges
from kube_core.auth.certificates import write_file
from kube_core.config import ClusterConfig, ConfigError

__all__ = ["choose_ranges", "node_ranges"]

#: How many of a network driver's ranges are tried before a clash is the user's to settle.
_TRIES = 16


def choose_ranges(
    config: ClusterConfig, network: type[Network], state: Path | None, stack: contextlib.AsyncExitStack
) -> NetworkRanges:
    """The cluster's ranges, reserved on this machine until `stack` unwinds.

    `state`: where the cluster keeps what it keeps. Raises `ConfigError` for a choice on file that is damaged.
    """
    kept = state / "ranges.json" if state is not None and config.has_nodes else None
    asked = bool(config.pod_cidr or config.service_cidr)
    if kept is not None and kept.exists() and not asked:
        ranges = _read(kept)
        # A place that is another cluster's is for the node's own claim to tell.
        let_go = network.reserve(ranges)
        if let_go is not None:
            stack.callback(let_go)
        return ranges
    ranges = _candidate(config, network, state, 0)
    for attempt in range(_TRIES if config.has_nodes else 0):
        candidate = _candidate(config, network, state, attempt)
        let_go = network.reserve(candidate)
        if let_go is not None:
            stack.callback(let_go)
            ranges = candidate
            break
    if kept is not None:
        chosen = {"pod_cidr": ranges.pod_cidr, "service_cidr": ranges.service_cidr}
        write_file(kept, orjson.dumps(chosen) + b"\n", mode=0o600)
    return ranges


def node_ranges(pod_cidr: str, nodes: int) -> list[str]:
    """Each node's part of the pod range: /24 where that is enough (or /64 of IPv6), smaller where it has to be.

    Raises `ConfigError` for a range that is too small.
    """
    network = ipaddress.ip_network(pod_cidr)
    length = 24 if network.version == 4 else 64
    length = max(length, network.prefixlen + max(nodes - 1, 0).bit_length())
    if length > network.max_prefixlen - 3:
        raise ConfigError(f"the pod range {pod_cidr} is too small for {nodes} nodes")
    return [str(subnet) for subnet in itertools.islice(network.subnets(new_prefix=length), nodes)]


def _candidate(config: ClusterConfig, network: type[Network], state: Path | None, attempt: int) -> NetworkRanges:
    # The same for a named cluster each time; another one for every cluster without a place of its own.
    where = f"{config.name}@{state}" if state is not None else config.name
    place = f"{where}#{attempt}" if attempt else where
    declared = network.ranges_for(place) if config.has_nodes else NetworkRanges()
    return NetworkRanges(
        pod_cidr=config.pod_cidr or declared.pod_cidr, service_cidr=config.service_cidr or declared.service_cidr
    )


def _read(path: Path) -> NetworkRanges:
    """What a cluster chose when it was made. Raises `ConfigError`."""
    try:
        chosen = orjson.loads(path.read_bytes())
        return NetworkRanges(pod_cidr=str(chosen["pod_cidr"]), service_cidr=str(chosen["service_cidr"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); repair or remove it") from None
