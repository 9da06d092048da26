"""The channels of `channel.k8s.io`: the byte with which every message of such a WebSocket begins."""

from __future__ import annotations

__all__ = ["CLOSE", "ERROR", "RESIZE", "STDERR", "STDIN", "STDOUT"]

STDIN, STDOUT, STDERR, ERROR, RESIZE = 0, 1, 2, 3, 4
#: Of v5 on: a message that closes the channel it names.
CLOSE = 255
