"""An HTTP ingress in the event loop: an aiohttp server in front, an aiohttp client behind.

`ingress.py` listens and switches route tables, `forward.py` carries requests, `websocket.py` upgraded ones, and
`headers.py` says what is passed on.
"""

from __future__ import annotations

from kube_drivers.ingress.http.ingress import HttpIngress

__all__ = ["HttpIngress"]
