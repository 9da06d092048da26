"""Traces, where the program has OpenTelemetry: spans around work, and nothing at all where it has not.

Whoever wants traces has imported `opentelemetry` to say where they go, so that is what is looked for, once, when a
program starts; without it there is no tracer and nothing is imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["find_tracer"]


def find_tracer(name: str) -> Tracer | None:
    """A tracer of the program's own provider; None where it has no OpenTelemetry."""
    if "opentelemetry" not in sys.modules:
        return None
    from opentelemetry import trace

    return trace.get_tracer(name)
