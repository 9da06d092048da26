"""Certificates for pods (`podCertificate` in projected volumes): asked for, waited for, and asked for anew in time.

For each such source the node makes a key, which never leaves it, and a PodCertificateRequest whose stub of a PKCS#10
request proves that it has the key. Some signer in the cluster answers. Until it does the volume cannot be set up; a
request that is denied or has failed leaves it so for good. From `beginRefreshAt` on, plus up to five minutes of chance,
the next key is made and asked about, while the old one and its certificate stay in the volume.

Nothing is kept over a start of the node, which asks anew then, and requests of pods that are gone are the cluster's to
remove. The words, the moments and the events are those of upstream's kubelet. Called by `payload.py` whenever it
gathers a volume's files; whoever waits for an answer is told by `poke`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import anyio.to_thread
import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.client.informer import Informer
from kube_core.control.events import EventRecorder
from kube_core.meta.documents import Document, Key, MutableDocument, name_of, namespace_of, uid_of
from kube_core.meta.status import StatusError
from kube_core.meta.times import parse_time
from kube_core.node.sources import ApiSources

__all__ = ["CertificateError", "Credential", "PodCertificates", "make_key"]

#: Seconds. How long a request that nobody sees may just be late; how much chance is added to moments.
_ABANDON = 600.0
_JITTER = 300.0
#: How long after its moment a renewal is overdue.
_OVERDUE = 600.0

_CERTIFICATE = re.compile(r"-----BEGIN [A-Z0-9 ]+-----(.*?)-----END [A-Z0-9 ]+-----", re.DOTALL)
_CURVES = {"ECDSAP256": "SECP256R1", "ECDSAP384": "SECP384R1", "ECDSAP521": "SECP521R1"}
_SIZES = {"RSA3072": 3072, "RSA4096": 4096}


class CertificateError(Exception):
    """Why there is no certificate: one line, for an event."""


@attrs.frozen
class Credential:
    """In PEM."""

    key: bytes
    chain: bytes


@attrs.frozen
class _Asked:
    """A request that was not answered yet."""

    name: str
    key: bytes
    abandon_at: float


@attrs.define
class _Held:
    """What is known of one source of one pod's volume."""

    given: Credential | None = None
    refresh_at: float = 0.0
    not_after: float = 0.0
    asked: _Asked | None = None
    refused: str = ""
    told: set[str] = attrs.field(factory=set)


class PodCertificates:
    """Of all pods of one node."""

    def __init__(
        self,
        sources: ApiSources,
        *,
        clock: Clock,
        random: Random,
        events: EventRecorder,
        node: Callable[[], Document | None],
        requests: Callable[[], Informer],
        poke: Callable[[str], None],
    ) -> None:
        """`requests`: of this node; followed from when the first pod needs one. `poke` is given a pod's uid."""
        self._sources = sources
        self._clock = clock
        self._random = random
        self._events = events
        self._node = node
        self._requests = requests
        self._poke = poke
        self._following: Informer | None = None
        self._held: dict[tuple[str, str, int], _Held] = {}

    async def credential(self, pod: Document, volume: str, index: int, source: Document) -> Credential:
        """What is to be in the volume now. Raises `CertificateError`.

        `index`: which of the volume's sources it is.
        """
        held = self._held.setdefault((uid_of(pod), volume, index), _Held())
        if not held.refused:
            await self._go_on(held, pod, source)
        if held.refused:
            raise CertificateError(held.refused)
        if held.given is None:
            raise CertificateError("credential bundle is not issued yet")
        return held.given

    def forget(self, uid: str) -> None:
        """The pod is over."""
        for key in [key for key in self._held if key[0] == uid]:
            del self._held[key]

    def close(self) -> None:
        """Follow nothing any more."""
        if self._following is not None:
            self._following.remove_handler(self._changed)
            self._following = None

    async def _go_on(self, held: _Held, pod: Document, source: Document) -> None:
        now = self._clock.now()
        if held.asked is None and now >= held.refresh_at:
            held.asked = await self._ask(pod, source, "refresh" if held.given is not None else "initial")
        if held.asked is None:
            return
        request = self._follow().lister.get(Key(namespace_of(pod), held.asked.name))
        if request is None:
            # It may be on its way still, or somebody has deleted it.
            if now > held.asked.abandon_at:
                held.asked = None
            return
        self._read(held, held.asked, request, pod)
        if held.asked is not None and held.given is not None:
            self._complain(held, pod, now)

    def _read(self, held: _Held, asked: _Asked, request: Document, pod: Document) -> None:
        status = request.get("status") or {}
        for condition in status.get("conditions") or ():
            reason, message = condition.get("reason") or "", condition.get("message") or ""
            match condition["type"]:
                case "Issued":
                    chain = _clean(str(status["certificateChain"]))
                    refresh_at = parse_time(status["beginRefreshAt"]) + self._jitter()
                    held.given, held.asked = Credential(asked.key, chain), None
                    held.refresh_at, held.not_after = refresh_at, parse_time(status["notAfter"])
                    held.told.clear()
                    return
                case "Denied" | "Failed" as kind:
                    held.asked, what = None, kind.lower()
                    why = f'reason="{reason}" message="{message}"'
                    held.refused = f"PodCertificateRequest was permanently {what}: {why}"
                    was = "was denied" if kind == "Denied" else "failed"
                    whole = f"PodCertificateRequest {namespace_of(request)}/{name_of(request)}"
                    self._events.warning(pod, kind, f'{whole} {was}, reason="{reason}", message="{message}"')
                    return

    def _complain(self, held: _Held, pod: Document, now: float) -> None:
        """Say, once, that the renewal takes too long."""
        for reason, moment, message in (
            ("CertificateOverdueForRefresh", held.refresh_at + _OVERDUE, "PodCertificate refresh overdue"),
            ("CertificateExpired", held.not_after, "PodCertificate expired"),
        ):
            if now > moment and reason not in held.told:
                held.told.add(reason)
                self._events.warning(pod, reason, message)

    async def _ask(self, pod: Document, source: Document, which: str) -> _Asked:
        self._follow()
        namespace = namespace_of(pod)
        account = str(pod["spec"].get("serviceAccountName") or "default")
        node = self._node() or {}
        with self._clock.hold("node: make a pod's key"):
            key, proof = await anyio.to_thread.run_sync(make_key, str(source.get("keyType")))
        spec: MutableDocument = {
            "signerName": source["signerName"],
            "podName": name_of(pod),
            "podUID": uid_of(pod),
            "serviceAccountName": account,
            "nodeName": name_of(node),
            "nodeUID": uid_of(node),
            "stubPKCS10Request": base64.b64encode(proof).decode(),
        }
        for field, copied in (("maxExpirationSeconds",) * 2, ("userAnnotations", "unverifiedUserAnnotations")):
            if source.get(field):
                spec[copied] = source[field]
        owner = {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)}
        metadata = {"namespace": namespace, "generateName": "req-", "ownerReferences": [owner]}
        step = "while fetching service account"
        try:
            spec["serviceAccountUID"] = uid_of(await self._sources.service_account(namespace, account))
            step = f"while creating {which} PodCertificateRequest: while creating on API"
            made = await self._sources.request_certificate({"metadata": metadata, "spec": spec})
        except StatusError as error:
            raise CertificateError(f"{step}: {error}") from None
        created = parse_time(made["metadata"]["creationTimestamp"])
        return _Asked(name_of(made), key, created + _ABANDON + self._jitter())

    def _jitter(self) -> float:
        return self._random.uniform(0.0, _JITTER)

    def _follow(self) -> Informer:
        if self._following is None:
            self._following = self._requests()
            self._following.add_handler(self._changed)
        return self._following

    def _changed(self, before: Document | None, after: Document | None) -> None:
        request = after or before or {}
        uid = (request.get("spec") or {}).get("podUID")
        name = name_of(request)
        if any(
            key[0] == uid and held.asked is not None and held.asked.name == name for key, held in self._held.items()
        ):
            self._poke(str(uid))


def make_key(kind: str) -> tuple[bytes, bytes]:
    """A key of a `keyType`, as PKCS#8 in PEM, and an empty PKCS#10 request in DER, signed with it. Blocking.

    Raises `CertificateError` for a kind that there is not.
    """
    # Lazily: it is large, and few nodes have such pods.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    # As strong a digest as the key is.
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = hashes.SHA256()
    if kind in _CURVES:
        key = ec.generate_private_key(getattr(ec, _CURVES[kind])())
        digest = hashes.SHA384() if kind == "ECDSAP384" else hashes.SHA512() if kind == "ECDSAP521" else digest
    elif kind in _SIZES:
        key = rsa.generate_private_key(public_exponent=65537, key_size=_SIZES[kind])
    elif kind == "ED25519":
        key, digest = ed25519.Ed25519PrivateKey.generate(), None
    else:
        raise CertificateError(f'while generating keypair: unknown key type "{kind}"')
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, digest)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, request.public_bytes(Encoding.DER)


def _clean(chain: str) -> bytes:
    """Certificates alone: without what else may stand between and in the blocks."""
    kept = []
    for block in _CERTIFICATE.findall(chain):
        # Headers, which end with an empty line, are no part of a certificate.
        body = block.strip("\n").rpartition("\n\n")[2] if ":" in block else block
        text = "".join(body.split())
        lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        kept.append(f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
    return "".join(kept).encode()
