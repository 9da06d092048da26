"""Taints and the tolerations that answer them (upstream: "Taints and Tolerations"). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["answers", "tolerates"]


def tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    """Whether one of the tolerations answers the taint."""
    return any(answers(toleration, taint) for toleration in tolerations)


def answers(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Whether this toleration answers the taint."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    value, tainted = str(toleration.get("value") or ""), str(taint.get("value") or "")
    if operator == "Exists":
        return True
    if operator == "Equal":
        return bool(toleration.get("key")) and value == tainted
    try:
        return int(tainted) > int(value) if operator == "Gt" else operator == "Lt" and int(tainted) < int(value)
    except ValueError:
        return False
