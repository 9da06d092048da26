"""How a cluster is reached and trusted: its certificate authority, and the kubeconfig for its administrator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kube_core._kit.clock import Clock
from kube_core.auth.certificates import Authority, KeyPair, load_or_create
from kube_core.config import ConfigError

__all__ = ["SERVER_NAMES", "kubeconfig", "load_authority"]

#: The names by which pods reach the server.
SERVER_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


def load_authority(state_directory: Path | None, clock: Clock) -> Authority:
    """The authority that `state_directory` keeps, or a new one. Raises `ConfigError` for one that is damaged."""
    now = clock.now()
    if state_directory is None:
        return Authority.create("kube-core", now=now)
    try:
        return load_or_create(state_directory, "kube-core", now=now)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def kubeconfig(name: str, url: str, authority: bytes, user: KeyPair) -> Mapping[str, Any]:
    """Upstream's kubeconfig with one context, everything inline."""
    import base64

    def inline(data: bytes) -> str:
        return base64.b64encode(data).decode()

    context = f"kube-core-{name}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": url, "certificate-authority-data": inline(authority)}}],
        "users": [
            {
                "name": context,
                "user": {
                    "client-certificate-data": inline(user.certificate),
                    "client-key-data": inline(user.key),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
