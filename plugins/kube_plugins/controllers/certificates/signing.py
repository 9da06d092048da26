"""Signs approved certificate requests with the cluster's authority.

Of the signers that Kubernetes defines: `kubernetes.io/kube-apiserver-client`, `…-kubelet`, `…/kubelet-serving` and
`…/legacy-unknown`; requests to other signers are left to them. One that breaks its signer's rules gets the condition
`Failed`, for good. A certificate holds for as long as was asked for, from ten minutes to a year (upstream's
`--cluster-signing-duration`), begins five minutes ago, for clocks differ, and never outlives the authority. Mirrors
upstream's certificatesigningrequest-signing-controller.

The authority is the driver `authority`, a `kube_core._kit.certificates.Authority`, that the cluster gives.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable
from typing import Final

from kube_core._kit.certificates import Authority
from kube_core.api.resources import CERTIFICATE_SIGNING_REQUESTS
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, thaw
from kube_core.meta.times import format_time
from kube_plugins.controllers.certificates.requests import (
    CLIENT,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    LEGACY_UNKNOWN,
    has_condition,
    pem_of,
    read,
    refusal,
)

__all__ = ["RequestSigner", "lifetime", "usages_of"]

_SIGNERS: Final = frozenset((CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN))
_LONGEST: Final = 365 * 24 * 3600.0
_SHORTEST: Final = 600.0
#: Certificates begin this long ago.
_BACKDATE: Final = 300.0
#: What holds for less long ends as late as asked; the others end as much earlier as they begin.
_SHORT: Final = 8 * 3600.0

#: Attributes of `cryptography.x509.KeyUsage`.
_KEY_USAGES: Final = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
#: Object identifiers of extended key usages (RFC 5280, and two of vendors), in the order in which they are written.
_EXTENDED: Final = {
    "any": "2.5.29.37.0",
    "server auth": "1.3.6.1.5.5.7.3.1",
    "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3",
    "email protection": "1.3.6.1.5.5.7.3.4",
    "s/mime": "1.3.6.1.5.5.7.3.4",
    "ipsec end system": "1.3.6.1.5.5.7.3.5",
    "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
    "ipsec user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp signing": "1.3.6.1.5.5.7.3.9",
    "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
    "netscape sgc": "2.16.840.1.113730.4.1",
}


def lifetime(asked: int | None, now: float) -> tuple[float, float]:
    """From when to when a certificate holds, in seconds since the epoch."""
    seconds = _LONGEST if asked is None else min(max(float(asked), _SHORTEST), _LONGEST)
    return now - _BACKDATE, now + seconds - (0.0 if seconds < _SHORT else _BACKDATE)


def usages_of(usages: Collection[str]) -> tuple[list[str], list[str]]:
    """Key usages and extended key usages, as `Authority.certify` takes them."""
    extended = [oid for usage, oid in _EXTENDED.items() if usage in usages]
    return [_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES], list(dict.fromkeys(extended))


class RequestSigner(Controller):
    """See the module's docstring."""

    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._authority: Authority = context.drivers["authority"]

    def watches(self) -> Iterable[Watch]:
        yield Watch(CERTIFICATE_SIGNING_REQUESTS)

    async def reconcile(self, key: Key) -> Action:
        request = self.context.informers.lister(CERTIFICATE_SIGNING_REQUESTS).get(key)
        if request is None or (request.get("status") or {}).get("certificate"):
            return await_change()
        if not has_condition(request, "Approved") or has_condition(request, "Denied"):
            return await_change()
        if has_condition(request, "Failed") or request["spec"].get("signerName") not in _SIGNERS:
            return await_change()
        await self.client.update_status(CERTIFICATE_SIGNING_REQUESTS, self._answered(request))
        return await_change()

    def _answered(self, request: Document) -> Document:
        """The request with a certificate, or with why it gets none."""
        changed, spec, now = thaw(request), request["spec"], self.clock.now()
        usages = spec.get("usages") or ()
        problem = refusal(spec["signerName"], read(pem_of(request)), usages)
        if problem is not None:
            failed = {
                "type": "Failed",
                "status": "True",
                "reason": "SignerValidationFailure",
                "message": problem,
                "lastUpdateTime": format_time(now),
            }
            changed["status"]["conditions"].append(failed)
            return changed  # type: ignore[no-any-return]
        key_usages, extended = usages_of(usages)
        start, end = lifetime(spec.get("expirationSeconds"), now)
        signed = self._authority.certify(
            pem_of(request), key_usages=key_usages, extended_usages=extended, start=start, end=end
        )
        changed["status"]["certificate"] = base64.b64encode(signed).decode()
        return changed  # type: ignore[no-any-return]
