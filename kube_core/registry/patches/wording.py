"""How values look in the messages of patches: as upstream's own language prints them.

Clients and people compare these texts, so a map reads `map[name:web replicas:3]` here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["go_text"]


def go_text(value: Any) -> str:
    """A JSON value in the plain format that upstream prints maps and lists with."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(go_text, value))}]"
    return str(value)
