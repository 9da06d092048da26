"""Signals by which containers are asked to end: CRI's enumeration, and the names that runtimes know. Pure."""

from __future__ import annotations

import functools
import signal
from typing import Any, Final

from kube_drivers.runtime.cri.messages import message

__all__ = ["signal_name", "signal_value"]

#: The last real-time signal is as many after the first.
_REAL_TIME: Final = 30


def signal_name(number: int) -> str:
    """The name of a signal of CRI's (`SIGTERM`, `SIGRTMIN+3`); "" where it is left to the runtime."""
    value = _enumeration().values_by_number.get(number)
    name = value.name if value is not None else "RUNTIME_DEFAULT"
    bare = name.removeprefix("SIGNAL_")
    if bare == "RUNTIME_DEFAULT":
        return ""
    for begin, sign in (("SIGRTMINPLUS", 1), ("SIGRTMAXMINUS", -1)):
        if bare.startswith(begin):
            count = int(bare.removeprefix(begin))
            return f"SIGRTMIN+{count if sign > 0 else _REAL_TIME - count}"
    return f"SIGRTMIN+{_REAL_TIME}" if bare == "SIGRTMAX" else str(bare)


def signal_value(name: str) -> str:
    """CRI's name for a signal as a runtime names it (`TERM`, `SIGRTMIN+3`, `9`)."""
    bare, plus, further = name.upper().removeprefix("SIG").partition("+")
    if plus and bare == "RTMIN" and further.isdigit():
        count = int(further)
        if not count:
            return "SIGNAL_SIGRTMIN"
        if count >= _REAL_TIME:
            return "SIGNAL_SIGRTMAX"
        return (
            f"SIGNAL_SIGRTMINPLUS{count}" if count <= _REAL_TIME // 2 else f"SIGNAL_SIGRTMAXMINUS{_REAL_TIME - count}"
        )
    try:
        known = signal.Signals(int(bare)) if bare.isdigit() else signal.Signals[f"SIG{bare}"]
    except (KeyError, ValueError):
        return "SIGNAL_RUNTIME_DEFAULT"
    return f"SIGNAL_{known.name}"


@functools.cache
def _enumeration() -> Any:
    return message("ContainerConfig").DESCRIPTOR.fields_by_name["stop_signal"].enum_type
