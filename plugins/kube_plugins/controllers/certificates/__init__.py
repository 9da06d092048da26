"""What becomes of certificate requests, and the trust bundle of the server's own authority, as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kube_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from kube_core.control.controller import ControllerSpec

__all__ = ["kube_core_controllers"]

_ACCOUNT = "certificate-controller"


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    # Only here: an API server without controllers loads this module, too.
    from kube_core.control.controller import ControllerSpec, RateLimits
    from kube_plugins.controllers.certificates.approving import RequestApprover
    from kube_plugins.controllers.certificates.cleaning import PodRequestCleaner, RequestCleaner
    from kube_plugins.controllers.certificates.signing import RequestSigner
    from kube_plugins.controllers.certificates.trustbundle import TrustBundlePublisher

    limits = RateLimits(first_retry=0.2)
    return [
        ControllerSpec(
            "certificatesigningrequest-approving-controller", RequestApprover, account=_ACCOUNT, rate_limits=limits
        ),
        ControllerSpec(
            "certificatesigningrequest-signing-controller",
            RequestSigner,
            needs=("authority",),
            account=_ACCOUNT,
            rate_limits=limits,
        ),
        ControllerSpec("certificatesigningrequest-cleaner-controller", RequestCleaner, account=_ACCOUNT),
        ControllerSpec(
            "podcertificaterequest-cleaner-controller", PodRequestCleaner, account="podcertificaterequestcleaner"
        ),
        ControllerSpec(
            "kube-apiserver-serving-clustertrustbundle-publisher-controller",
            TrustBundlePublisher,
            needs=("cluster_ca",),
            account="kube-apiserver-serving-clustertrustbundle-publisher",
        ),
    ]
