"""What went over the interfaces of a pod's network namespace, as the kernel counts it: CRI's `NetworkUsage`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from kube_drivers import kernel

__all__ = ["network_usage", "parse_counters"]

#: Of the process's own namespace, which a thread may have left.
_COUNTERS: Final = "/proc/thread-self/net/dev"
_DEFAULT: Final = "eth0"


def network_usage(namespace_path: str, timestamp: int) -> dict[str, Any] | None:
    """Blocks. None where the namespace is gone."""
    try:
        text = kernel.in_namespace(namespace_path, "net", lambda: Path(_COUNTERS).read_text())
    except OSError:
        return None
    found = parse_counters(text)
    interfaces = [{"name": name, **counters} for name, counters in found.items() if name != "lo"]
    default = next((each for each in interfaces if each["name"] == _DEFAULT), None)
    return {"timestamp": timestamp, "default_interface": default, "interfaces": interfaces}


def parse_counters(text: str) -> dict[str, dict[str, Any]]:
    """By interface, of `/proc/net/dev`: bytes and errors, received and sent."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        picked = {"rx_bytes": fields[0], "rx_errors": fields[2], "tx_bytes": fields[8], "tx_errors": fields[10]}
        found[name.strip()] = {counter: {"value": int(value)} for counter, value in picked.items()}
    return found
