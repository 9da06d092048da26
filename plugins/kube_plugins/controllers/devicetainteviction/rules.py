"""What a DeviceTaintRule's condition `EvictionInProgress` says. Pure; upstream's reasons and messages."""

from __future__ import annotations

import attrs

__all__ = ["Effects", "told"]


@attrs.frozen
class Effects:
    """Of one rule: the devices that it selects, published ones and those given to claims; the pods that are to go for
    it, or would be, and in how many namespaces; the pods that went."""

    published: int = 0
    given: int = 0
    pending: int = 0
    namespaces: int = 0
    evicted: int = 0


def told(effect: str, effects: Effects) -> tuple[str, str, str]:
    """Status, reason and message for a rule of that effect."""
    status, reason, message = _told(effect, effects)
    if effects.evicted:
        message = f"{message} {_count(effects.evicted, 'pod')} evicted since starting the controller.".lstrip()
    return status, reason, message


def _told(effect: str, effects: Effects) -> tuple[str, str, str]:
    where = "1 namespace" if effects.namespaces == 1 else f"{effects.namespaces} different namespaces"
    if effect == "NoExecute":
        if effects.pending:
            need = "1 pod needs" if effects.pending == 1 else f"{effects.pending} pods need"
            return "True", "PodsPendingEviction", f"{need} to be evicted in {where}."
        return "False", "Completed" if effects.evicted else "NotStarted", ""
    if effect == "None":
        parts = (
            f"{_count(effects.published, 'published device')} selected.",
            f"{_count(effects.given, 'allocated device')} selected.",
            f"{_count(effects.pending, 'pod')} would be evicted in {where} if the effect was NoExecute.",
            "This information will not be updated again. Recreate the DeviceTaintRule to trigger an update.",
        )
        return "False", "NoEffect", " ".join(parts)
    return "False", "OtherEffect", "Eviction only happens for the NoExecute effect."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
