"""Removes certificate requests that nobody needs any longer.

A CertificateSigningRequest goes one hour after it was answered (issued, denied or failed), a day after it was made or
approved where nobody answered, and when its certificate has expired; a PodCertificateRequest fifteen minutes after it
was made. Mirrors upstream's cleaners, but for this: they look once an hour and every five minutes, here each request
goes when its time has come.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from kube_core.api.resources import CERTIFICATE_SIGNING_REQUESTS, POD_CERTIFICATE_REQUESTS
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, Watch
from kube_core.meta.documents import Document, Key, metadata_of, uid_of
from kube_core.meta.status import NotFound
from kube_core.meta.times import parse_time

__all__ = ["PodRequestCleaner", "RequestCleaner", "expiry", "pod_request_expiry"]

_HOUR = 3600.0
_DAY = 24 * _HOUR
_POD_REQUEST = 15 * 60.0
#: How long a request is kept after it got a condition; approval is told below.
_KEPT_AFTER = {"Denied": _HOUR, "Failed": _HOUR}


def expiry(request: Document) -> float | None:
    """When a CertificateSigningRequest may go, in seconds since the epoch; None: not for what is known now."""
    status = request.get("status") or {}
    conditions, certificate = status.get("conditions") or (), status.get("certificate") or ""
    if not conditions:
        return _created(request) + _DAY
    moments: list[float] = []
    for condition in conditions:
        kind, updated = condition.get("type"), condition.get("lastUpdateTime")
        kept = (_HOUR if certificate else _DAY) if kind == "Approved" else _KEPT_AFTER.get(kind)
        if kept is not None and updated:
            moments.append(parse_time(updated) + kept)
        if kind == "Approved" and certificate and (end := _end_of(certificate)) is not None:
            moments.append(end)
    return min(moments, default=None)


def pod_request_expiry(request: Document) -> float:
    """The same of a PodCertificateRequest."""
    return _created(request) + _POD_REQUEST


class RequestCleaner(Controller):
    """See the module's docstring."""

    workers = 1
    resource = CERTIFICATE_SIGNING_REQUESTS

    def watches(self) -> Iterable[Watch]:
        yield Watch(self.resource)

    async def reconcile(self, key: Key) -> Action:
        request = self.context.informers.lister(self.resource).get(key)
        if request is None or (moment := self._expiry(request)) is None:
            return await_change()
        if (wait := moment - self.clock.now()) > 0:
            return requeue(wait)
        await _remove(self, self.resource, request, key)
        return await_change()

    def _expiry(self, request: Document) -> float | None:
        return expiry(request)


class PodRequestCleaner(RequestCleaner):
    """See the module's docstring."""

    resource = POD_CERTIFICATE_REQUESTS

    def _expiry(self, request: Document) -> float | None:
        return pod_request_expiry(request)


async def _remove(controller: Controller, resource: ResourceType, request: Document, key: Key) -> None:
    try:
        await controller.client.delete(resource, key.name, key.namespace, uid=uid_of(request))
    except NotFound:
        pass


def _created(request: Document) -> float:
    return parse_time(str(metadata_of(request)["creationTimestamp"]))


def _end_of(certificate: str) -> float | None:
    from cryptography import x509  # lazily: most clusters never see a request

    try:
        end = x509.load_pem_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc
    except ValueError:
        return None
    return float(end.timestamp())
