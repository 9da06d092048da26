"""PodCertificateRequests: a node asks for a certificate for one of its pods. Documented under "Pod certificates".

What is asked for never changes; the answer is in the status, and is given once.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.certificates import signer_name
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.conditions import conditions, is_true
from kube_core.registry.kinds.metadata import check_annotations

__all__ = ["PodCertificateStrategy", "lifetimes"]

SPEC = Path("spec")
STATUS = Path("status")
CHAIN = STATUS.child("certificateChain")
#: How long a certificate may be asked to last, in seconds: of Kubernetes' own signers, and of others.
_SHORTEST = 60 * 60
_LONGEST_OWN = 24 * 60 * 60
_LONGEST = 91 * 24 * 60 * 60
_UID_LIMIT = 128
_REQUEST_LIMIT = 10 * 1024
_CHAIN_LIMIT = 100 * 1024
_ENDS = ("Issued", "Denied", "Failed")
_IDENTITIES = (
    ("podName", "podUID"),
    ("serviceAccountName", "serviceAccountUID"),
    ("nodeName", "nodeUID"),
)


class PodCertificateStrategy(BuiltinStrategy):
    def validate(self, document: Document) -> Errors:
        spec: Mapping[str, Any] = document["spec"]
        signer = spec.get("signerName") or ""
        yield from signer_name(SPEC.child("signerName"), signer)
        yield from check_annotations(SPEC.child("unverifiedUserAnnotations"), spec.get("unverifiedUserAnnotations"))
        for name, uid in _IDENTITIES:
            yield from checks.named(SPEC.child(name), spec.get(name) or "", names.dns1123_subdomain)
            if not spec.get(uid):
                yield fields.invalid(SPEC.child(uid), "", "must not be empty")
            elif len(spec[uid]) > _UID_LIMIT:
                yield fields.too_long(SPEC.child(uid), _UID_LIMIT)
        seconds = spec.get("maxExpirationSeconds")
        shortest, longest = lifetimes(signer)
        if seconds is None:
            yield fields.required(SPEC.child("maxExpirationSeconds"), "must be set")
        elif not shortest <= seconds <= longest:
            detail = f"must be in the range [{shortest}, {longest}]"
            yield fields.invalid(SPEC.child("maxExpirationSeconds"), seconds, detail)
        yield from _request(spec.get("stubPKCS10Request") or "")

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from checks.immutable(SPEC, document.get("spec"), old.get("spec"))

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status, before = (checks.mapping(each, "status") for each in (document, old))
        listed: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
        errors = [*_ending(listed), *conditions(STATUS.child("conditions"), listed)]
        yield from errors
        if errors:
            return
        if any(is_true(before.get("conditions"), kind) for kind in _ENDS):
            if status != before:
                detail = "immutable after PodCertificateRequest is issued, denied, or failed"
                yield fields.invalid(STATUS, dict(status), detail)
        elif is_true(listed, "Issued"):
            yield from _issued(status)
        elif status.keys() - {"conditions"}:
            ending = is_true(listed, "Denied") or is_true(listed, "Failed")
            what = "when denying or failing the PodCertificateRequest" if ending else "unless it is issued"
            yield fields.invalid(STATUS, dict(status), f"non-condition status fields must be empty {what}")

    def field_labels(self) -> Sequence[str]:
        return ("spec.signerName", "spec.podName", "spec.nodeName")

    def fields(self, document: Document) -> Mapping[str, str]:
        spec = document.get("spec") or {}
        return {f"spec.{name}": spec.get(name) or "" for name in ("signerName", "podName", "nodeName")}

    def index_fields(self) -> Sequence[str]:
        return ("spec.nodeName",)


def lifetimes(signer: str) -> tuple[int, int]:
    """The shortest and longest that a signer may be asked for, in seconds."""
    domain = signer.partition("/")[0]
    is_own = domain == "kubernetes.io" or domain.endswith(".kubernetes.io")
    return _SHORTEST, _LONGEST_OWN if is_own else _LONGEST


def _request(text: str) -> Errors:
    from cryptography import x509  # lazily: it is large, and few servers get such requests

    path = SPEC.child("stubPKCS10Request")
    if not text:
        yield fields.required(path)
        return
    content = base64.b64decode(text)
    if len(content) > _REQUEST_LIMIT:
        yield fields.too_long(path, _REQUEST_LIMIT)
        return
    try:
        request = x509.load_der_x509_csr(content)
    except ValueError:
        yield fields.invalid(path, "<value omitted>", "must be a valid PKCS#10 certificate request")
        return
    if not request.is_signature_valid:
        yield fields.invalid(path, "<value omitted>", "could not verify proof-of-possession signature")


def _ending(listed: Sequence[Mapping[str, Any]]) -> Errors:
    """There is at most one of the conditions that end a request, and it is true; there are no others."""
    known = 0
    for position, condition in enumerate(listed):
        here, kind = STATUS.child("conditions").index(position), condition.get("type") or ""
        if kind not in _ENDS:
            yield fields.not_supported(here.child("type"), kind, _ENDS)
            continue
        known += 1
        if known > 1:
            detail = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
            yield fields.invalid(here.child("type"), kind, detail)
        if condition.get("status") != "True":
            yield fields.not_supported(here.child("status"), condition.get("status") or "", ["True"])


def _issued(status: Mapping[str, Any]) -> Errors:
    chain = status.get("certificateChain") or ""
    if len(chain) > _CHAIN_LIMIT:
        yield fields.too_long(CHAIN, _CHAIN_LIMIT)
        return
    if "-----BEGIN CERTIFICATE-----" not in chain:
        yield fields.invalid(CHAIN, chain, "issued certificate chain must contain at least one certificate")
        return
    consistent = "must be present and consistent with the issued certificate"
    for name, detail in (
        ("notBefore", consistent),
        ("notAfter", consistent),
        ("beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
    ):
        if not status.get(name):
            yield fields.required(STATUS.child(name), detail)
