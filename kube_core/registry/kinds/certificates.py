"""CertificateSigningRequests and ClusterTrustBundles. Documented under "Certificates and Certificate Signing Requests".

The request inside is only looked at for its form; signing it is a controller's business.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.abc.transport import User
from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument, thaw
from kube_core.meta.fields import FieldError, Path, generated
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["ClusterTrustBundleStrategy", "SigningRequestStrategy", "signer_name"]

SPEC = Path("spec")
STATUS = Path("status")
#: Bytes.
_LARGEST_BUNDLE = 1024 * 1024
_BLOCK = re.compile(r"-----BEGIN (?P<kind>[^-\n]+)-----\n(?P<body>.*?)-----END (?P=kind)-----", re.DOTALL)
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_SHORTEST = 600
_DECISIONS = ("Approved", "Denied")
_LASTING = (*_DECISIONS, "Failed")


class SigningRequestStrategy(BuiltinStrategy):
    def name_rule(self, name: str) -> names.Messages:
        return ()

    def record_requester(self, document: MutableDocument, user: User) -> None:
        spec = document["spec"]
        for name in ("username", "uid", "groups", "extra"):
            spec.pop(name, None)
        given: dict[str, Any] = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
        given["extra"] = {key: list(values) for key, values in user.extra.items()}
        spec.update({name: value for name, value in given.items() if value})

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        document["spec"] = thaw(old["spec"])

    def prepare_for_subresource_update(self, subresource: str, document: MutableDocument, old: Document) -> None:
        """`approval` changes the decision; who asked for what stays as it was."""
        document["spec"] = thaw(old["spec"])
        status, before = document.get("status") or {}, old.get("status") or {}
        kept = {name: thaw(value) for name, value in before.items() if name != "conditions"}
        if status.get("conditions"):
            kept["conditions"] = self._stamped(status["conditions"])
        document["status"] = kept

    def prepare_for_status_update(self, document: MutableDocument, old: Document) -> None:
        """`status` brings the certificate; the decision stays as it was."""
        super().prepare_for_status_update(document, old)
        status, before = document.setdefault("status", {}), old.get("status") or {}
        others = [each for each in status.get("conditions") or () if each.get("type") not in _DECISIONS]
        decided = [thaw(each) for each in before.get("conditions") or () if each.get("type") in _DECISIONS]
        if conditions := [*decided, *self._stamped(others)]:
            status["conditions"] = conditions
        else:
            status.pop("conditions", None)

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        yield from _request(spec)
        yield from _usages(spec.get("usages") or ())
        signer = spec.get("signerName") or ""
        if signer == LEGACY_SIGNER:
            detail = "the legacy signerName is not allowed via this API version"
            yield fields.invalid(SPEC.child("signerName"), signer, detail)
        else:
            yield from signer_name(SPEC.child("signerName"), signer)
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < _SHORTEST:
            detail = f"may not specify a duration less than {_SHORTEST} seconds ({_SHORTEST // 60} minutes)"
            yield fields.invalid(SPEC.child("expirationSeconds"), seconds, detail)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return ()

    def validate_subresource_update(self, subresource: str, document: Document, old: Document) -> Iterable[FieldError]:
        return _conditions(document, old)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from _conditions(document, old)
        certificate = (document.get("status") or {}).get("certificate")
        before = (old.get("status") or {}).get("certificate")
        where = STATUS.child("certificate")
        if before and certificate != before:
            yield fields.forbidden(where, "updates may not set or modify existing certificate content")
        elif certificate and b"-----BEGIN CERTIFICATE-----" not in base64.b64decode(certificate):
            yield fields.invalid(where, "<certificate data>", "must contain at least one CERTIFICATE PEM block")

    def field_labels(self) -> Sequence[str]:
        return ("spec.signerName",)

    def fields(self, document: Document) -> Mapping[str, str]:
        return {"spec.signerName": (document.get("spec") or {}).get("signerName") or ""}

    def _stamped(self, conditions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Conditions with their times: now, where none was given."""
        from kube_core.meta.times import format_time  # lazily: only decisions need it

        now = format_time(self.context.clock.now())
        stamped = []
        for condition in conditions:
            new = thaw(condition)
            for name in ("lastUpdateTime", "lastTransitionTime"):
                if new.get(name) is None:
                    new[name] = now
            stamped.append(new)
        return stamped


class ClusterTrustBundleStrategy(BuiltinStrategy):
    allows_unconditional_update = False

    def name_problems(self, name: str, *, prefix: bool = False) -> names.Messages:
        return super().name_problems(name.rpartition(":")[2], prefix=prefix)

    def validate(self, document: Document) -> Errors:
        yield from self._named(document)
        yield from _trust_bundle(SPEC.child("trustBundle"), document["spec"].get("trustBundle") or "")

    def _named(self, document: Document) -> Errors:
        spec, name = document["spec"], document["metadata"].get("name") or ""
        signer = spec.get("signerName") or ""
        if signer:
            beginning = signer.replace("/", ":") + ":"
            if not name.startswith(beginning):
                detail = f"ClusterTrustBundle for signerName {signer} must be named with prefix {beginning}"
                yield fields.invalid(Path("metadata").child("name"), name, detail)
        elif ":" in name:
            detail = 'ClusterTrustBundle without signer name must not have ":" in its name'
            yield fields.invalid(Path("metadata").child("name"), name, detail)
        if signer:
            yield from signer_name(SPEC.child("signerName"), signer)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        new, before = document["spec"], old["spec"]
        yield from self._named(document)
        if new.get("trustBundle") != before.get("trustBundle"):
            yield from _trust_bundle(SPEC.child("trustBundle"), new.get("trustBundle") or "")
        signers = new.get("signerName") or "", before.get("signerName") or ""
        yield from generated(checks.immutable(SPEC.child("signerName"), *signers))

    def field_labels(self) -> Sequence[str]:
        return ("spec.signerName",)

    def fields(self, document: Document) -> Mapping[str, str]:
        return {"spec.signerName": (document.get("spec") or {}).get("signerName") or ""}


def _trust_bundle(path: Path, text: str) -> Errors:
    """Certificates of authorities, in PEM, each once."""
    from cryptography import x509  # takes a while to import, and few send one

    if len(text.encode()) > _LARGEST_BUNDLE:
        yield fields.too_long(path, _LARGEST_BUNDLE)
        return
    problems, places = [], dict[bytes, list[int]]()
    for position, block in enumerate(_BLOCK.finditer(text)):
        try:
            if block["kind"] != "CERTIFICATE":
                problems.append(f"entry {position} has bad block type: {block['kind']}")
                continue
            if ":" in block["body"]:
                problems.append(f"entry {position} has PEM block headers")
                continue
            data = base64.b64decode("".join(block["body"].split()), validate=True)
            authority = x509.load_der_x509_certificate(data).extensions.get_extension_for_class(x509.BasicConstraints)
            if not authority.value.ca:
                problems.append(f"entry {position} does not have the CA bit set")
                continue
            places.setdefault(data, []).append(position)
        except x509.ExtensionNotFound:
            problems.append(f"entry {position} does not have the CA bit set")
        except ValueError:
            problems.append(f"entry {position} does not parse as X.509")
    if not problems and not places:
        problems = ["at least one trust anchor must be provided"]
    elif not problems:
        problems = [
            f"duplicate trust anchor (indices {' '.join(map(str, found)).join('[]')})"
            for found in places.values()
            if len(found) > 1
        ]
    for problem in problems:
        yield fields.invalid(path, "<value omitted>", problem)


def signer_name(path: Path, name: str) -> Errors:
    """`example.com/signer-name`."""
    if not name:
        yield fields.required(path)
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield fields.invalid(path, name, detail)
        return
    for part in (domain, rest):
        for message in names.dns1123_subdomain(part):
            yield fields.invalid(path, part, f"validating label {part!r}: {message}".replace("'", '"', 2))
    if "." not in domain:
        yield fields.invalid(path, domain, "should be a domain with at least two segments separated by dots")


def _request(spec: Mapping[str, Any]) -> Errors:
    text = spec.get("request") or ""
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in base64.b64decode(text):
        yield fields.invalid(SPEC.child("request"), text or None, "PEM block type must be CERTIFICATE REQUEST")


def _usages(listed: Sequence[str]) -> Errors:
    where = SPEC.child("usages")
    if not listed:
        yield fields.required(where)
    for position, usage in enumerate(listed):
        if usage not in USAGES:
            yield fields.not_supported(where.index(position), usage, USAGES)
        if usage in listed[:position]:
            yield fields.duplicate(where.index(position), usage)


def _conditions(document: Document, old: Document) -> Errors:
    listed: Sequence[Mapping[str, Any]] = (document.get("status") or {}).get("conditions") or ()
    path = STATUS.child("conditions")
    kinds = [each.get("type") or "" for each in listed]
    for position, condition in enumerate(listed):
        here, kind, status = path.index(position), kinds[position], condition.get("status") or ""
        if not kind:
            yield fields.required(here.child("type"))
        if not status:
            yield fields.required(here.child("status"))
        elif kind in _LASTING and status != "True":
            yield fields.not_supported(here.child("status"), status, ["True"])
        else:
            yield from checks.one_of(here.child("status"), status, ("False", "True", "Unknown"))
        if kind in kinds[:position]:
            yield fields.duplicate(here.child("type"), kind)
    if all(decision in kinds for decision in _DECISIONS):
        shown = [f'conditions[{{"type": "{decision}"}}]' for decision in _DECISIONS]
        detail = f"must specify at most one of: {', '.join(f'`{each}`' for each in shown)}"
        yield fields.invalid(path, f"{{{', '.join(shown)}}}", detail)
    for condition in (old.get("status") or {}).get("conditions") or ():
        kind = condition.get("type")
        if kind in _LASTING and kind not in kinds:
            yield fields.forbidden(path, f'updates may not remove a condition of type "{kind}"')
