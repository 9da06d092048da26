"""Bootstrap tokens: who signs by them how a cluster is reached, and who clears away those that ran out, as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kube_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from kube_core.control.controller import ControllerSpec

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    # Only here: an API server without controllers loads this module, too.
    from kube_core.control.controller import ControllerSpec
    from kube_plugins.controllers.bootstrap.cleaner import TokenCleaner
    from kube_plugins.controllers.bootstrap.signer import BootstrapSigner

    return [
        ControllerSpec("bootstrap-signer-controller", BootstrapSigner, account="bootstrap-signer", by_default=False),
        ControllerSpec("token-cleaner-controller", TokenCleaner, account="token-cleaner", by_default=False),
    ]
