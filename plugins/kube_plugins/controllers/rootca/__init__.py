"""The publisher of the cluster's certificate authority, as a plugin."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.rootca.controller import RootCertificatePublisher

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    return [
        ControllerSpec(
            "root-ca-certificate-publisher-controller", RootCertificatePublisher, account="root-ca-cert-publisher"
        )
    ]
