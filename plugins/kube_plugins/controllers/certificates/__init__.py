"""What becomes of certificate requests, and the trust bundle of the server's own authority, as a plugin."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec, RateLimits
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.certificates.approving import RequestApprover
from kube_plugins.controllers.certificates.cleaning import PodRequestCleaner, RequestCleaner
from kube_plugins.controllers.certificates.signing import RequestSigner
from kube_plugins.controllers.certificates.trustbundle import TrustBundlePublisher

__all__ = ["kube_core_controllers"]

_ACCOUNT = "certificate-controller"
_LIMITS = RateLimits(first_retry=0.2)


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    return [
        ControllerSpec(
            "certificatesigningrequest-approving-controller", RequestApprover, account=_ACCOUNT, rate_limits=_LIMITS
        ),
        ControllerSpec(
            "certificatesigningrequest-signing-controller",
            RequestSigner,
            needs=("authority",),
            account=_ACCOUNT,
            rate_limits=_LIMITS,
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
