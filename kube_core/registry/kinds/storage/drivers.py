"""What storage drivers register: CSIDrivers, CSINodes, capacities, and attachments of volumes to nodes.

Documented under "CSIDriver", "CSINode", "Storage Capacity" and "VolumeAttachment".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names, quantities
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import OWN_METADATA, BuiltinStrategy
from kube_core.registry.kinds.checks import NOT_NEGATIVE, Errors
from kube_core.registry.kinds.devices.parts import opaque_driver
from kube_core.registry.kinds.storage.volumes import inline_volume_spec

__all__ = ["AttachmentStrategy", "CapacityStrategy", "DriverStrategy", "NodeStrategy"]

SPEC = Path("spec")
STATUS = Path("status")
_ERROR_LIMIT = 1024
_NAME_LIMIT = 63
_LARGEST_CODE = 2**31 - 1
_TOKEN_SHORTEST = 10 * 60
_SECRETS_WARNING = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
    "logging of tokens in volume attributes"
)


class DriverStrategy(BuiltinStrategy):
    """CSIDriver."""

    allows_unconditional_update = False
    returns_deleted = True

    def default(self, document: MutableDocument) -> None:
        spec = document.setdefault("spec", {})
        spec.setdefault("attachRequired", True)
        for name in (
            "podInfoOnMount",
            "storageCapacity",
            "requiresRepublish",
            "seLinuxMount",
            "preventPodSchedulingIfMissing",
        ):
            spec.setdefault(name, False)
        spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        # Its generation begins with the first change.
        if document["spec"] != old["spec"]:
            document["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        for flag in ("attachRequired", "podInfoOnMount", "storageCapacity"):
            if spec.get(flag) is None:
                yield fields.required(SPEC.child(flag))
        policy = spec.get("fsGroupPolicy")
        if policy is not None:
            supported = ("File", "None", "ReadWriteOnceWithFSType")
            yield from checks.one_of(SPEC.child("fsGroupPolicy"), policy, supported)
        for mode in spec.get("volumeLifecycleModes") or ():
            modes = ("Persistent", "Ephemeral")
            yield from checks.one_of(SPEC.child("volumeLifecycleModes"), mode, modes, ordered=True)
        yield from _token_requests(spec.get("tokenRequests") or ())
        period = spec.get("nodeAllocatableUpdatePeriodSeconds")
        if period is not None and period < 10:
            detail = "must be greater than or equal to 10 seconds"
            yield fields.invalid(SPEC.child("nodeAllocatableUpdatePeriodSeconds"), period, detail)
        in_secrets = spec.get("serviceAccountTokenInSecrets")
        if in_secrets and not spec.get("tokenRequests"):
            detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
            yield fields.invalid(SPEC.child("serviceAccountTokenInSecrets"), in_secrets, detail)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        new, before = document["spec"], old["spec"]
        if new.get("attachRequired") != before.get("attachRequired"):
            # Upstream's name for it in messages.
            yield fields.invalid(SPEC.child("attachedRequired"), new.get("attachRequired"), checks.IMMUTABLE)
        yield from checks.immutable(
            SPEC.child("volumeLifecycleModes"), new.get("volumeLifecycleModes"), before.get("volumeLifecycleModes")
        )

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        spec = document["spec"]
        if old is not None and old["spec"].get("tokenRequests") == spec.get("tokenRequests"):
            return ()
        if spec.get("tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None:
            return (_SECRETS_WARNING,)
        return ()


class NodeStrategy(BuiltinStrategy):
    """CSINode."""

    allows_unconditional_update = False
    returns_deleted = True

    def validate(self, document: Document) -> Errors:
        seen: set[str] = set()
        for position, driver in enumerate(document["spec"].get("drivers") or ()):
            here, name = SPEC.child("drivers").index(position), driver.get("name") or ""
            yield from _driver_name(here.child("name"), name)
            identifier = driver.get("nodeID") or ""
            if not identifier:
                yield fields.required(here.child("nodeID"))
            elif len(identifier) > 256:
                yield fields.invalid(here.child("nodeID"), identifier, "must be 256 characters or less")
            count = (driver.get("allocatable") or {}).get("count")
            yield from checks.non_negative(here.child("allocatable").child("count"), count)
            if name and name in seen:
                yield fields.duplicate(here.child("name"), name)
            seen.add(name)
            keys: set[str] = set()
            for key in driver.get("topologyKeys") or ():
                if not key or key in keys:
                    yield fields.required(here) if not key else fields.duplicate(here, key)
                keys.add(key)
                yield from checks.named(here, key, names.qualified_name)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        present = {driver.get("name"): driver for driver in document["spec"].get("drivers") or ()}
        for driver in old["spec"].get("drivers") or ():
            new = present.get(driver.get("name"))
            if new is None:
                continue
            fixed = [{name: value for name, value in each.items() if name != "allocatable"} for each in (new, driver)]
            if fixed[0] != fixed[1]:
                yield fields.invalid(SPEC.child("drivers"), dict(new), checks.IMMUTABLE)


class CapacityStrategy(BuiltinStrategy):
    """CSIStorageCapacity."""

    allows_unconditional_update = False

    def validate(self, document: Document) -> Errors:
        name = document.get("storageClassName") or ""
        yield from checks.named(Path("storageClassName"), name, names.dns1123_subdomain)
        amount = document.get("capacity")
        if amount is not None and quantities.parse(amount).nano < 0:
            yield fields.invalid(Path("capacity"), amount, NOT_NEGATIVE)
        yield from checks.label_selector(Path("nodeTopology"), document.get("nodeTopology"))

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        for name in ("nodeTopology", "storageClassName"):
            yield from checks.immutable(Path(name), document.get(name), old.get(name))


class AttachmentStrategy(BuiltinStrategy):
    """VolumeAttachment."""

    fixed_by_status = OWN_METADATA
    allows_unconditional_update = False
    returns_deleted = True

    def validate(self, document: Document) -> Errors:
        yield from self._rest(document)
        yield from fields.generated(opaque_driver(SPEC.child("attacher"), document["spec"].get("attacher") or ""))

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from _driver_name(SPEC.child("attacher"), document["spec"].get("attacher") or "")
        yield from self._rest(document)
        if document["spec"] != old["spec"]:
            yield fields.invalid(SPEC, None, checks.IMMUTABLE)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return _attachment_status(document.get("status") or {})

    def _rest(self, document: Document) -> Errors:
        spec = document["spec"]
        yield from self._source(spec.get("source") or {})
        yield from checks.named(SPEC.child("nodeName"), spec.get("nodeName") or "", names.dns1123_subdomain)
        yield from _attachment_status(document.get("status") or {})

    def _source(self, source: Mapping[str, Any]) -> Errors:
        inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
        path, detail = SPEC.child("source"), "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        if inline is None and name is None:
            yield fields.required(path, detail)
        elif inline is not None and name is not None:
            yield fields.forbidden(path, detail)
        elif name is not None:
            if not name:
                yield fields.required(path.child("persistentVolumeName"), "must specify non empty persistentVolumeName")
            yield from checks.named(path.child("persistentVolumeName"), name, names.dns1123_subdomain)
        else:
            yield from inline_volume_spec(path.child("inlineVolumeSpec"), inline or {})


def _driver_name(path: Path, name: str) -> Errors:
    if not name:
        yield fields.required(path)
        return
    if len(name) > _NAME_LIMIT:
        yield fields.too_long(path, _NAME_LIMIT)
    for message in names.dns1123_subdomain(name.lower()):
        yield fields.invalid(path, name, message)


def _token_requests(listed: Sequence[Mapping[str, Any]]) -> Errors:
    seen: set[str] = set()
    for position, request in enumerate(listed):
        here, audience = SPEC.child("tokenRequests").index(position), request.get("audience") or ""
        if audience in seen:
            yield fields.duplicate(here.child("audience"), audience)
            continue
        seen.add(audience)
        seconds = request.get("expirationSeconds")
        if seconds is not None and seconds < _TOKEN_SHORTEST:
            detail = "may not specify a duration less than 10 minutes"
            yield fields.invalid(here.child("expirationSeconds"), seconds, detail)
        if seconds is not None and seconds > 1 << 32:
            detail = "may not specify a duration larger than 2^32 seconds"
            yield fields.invalid(here.child("expirationSeconds"), seconds, detail)


def _attachment_status(status: Mapping[str, Any]) -> Errors:
    for key in status.get("attachmentMetadata") or {}:
        if not key:
            yield fields.invalid(STATUS.child("attachmentMetadata"), key, "field can not be empty.")
    for name in ("attachError", "detachError"):
        message = (status.get(name) or {}).get("message") or ""
        if len(message) > _ERROR_LIMIT:
            yield fields.too_long(STATUS.child(name).child("message"), _ERROR_LIMIT)
        code = (status.get(name) or {}).get("errorCode")
        if code is not None and not 0 <= code <= _LARGEST_CODE:
            detail = f"must be between 0 and {_LARGEST_CODE}, inclusive"
            yield fields.invalid(STATUS.child(name).child("errorCode"), code, detail)
