"""A pod's volumes: where their contents come from.

The common sources are written out; those of single storage systems are told by a table of what they require.
Documented under "Volumes", "Projected Volumes", "Ephemeral Volumes".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names, quantities
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors, label_selector, named, one_of
from kube_core.registry.kinds.pods import remote_volumes
from kube_core.registry.kinds.pods.environment import VOLUME_FIELDS, field_reference, resource_reference
from kube_core.registry.kinds.pods.paths import local_non_reserved, no_backsteps
from kube_core.registry.kinds.pods.token_volume import TOKEN_PROJECTION

__all__ = ["HOST_PATH_TYPES", "REQUIRED_FIELDS", "host_path", "volumes"]

Part = Mapping[str, Any]

HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_MODE_LIMIT = 0o777

#: What sources require that nothing else is known of. Upstream's order of sources is that of `_ORDER`.
REQUIRED_FIELDS: Mapping[str, Sequence[str]] = {
    "awsElasticBlockStore": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "azureFile": ("secretName", "shareName"),
    "cephfs": ("monitors",),
    "cinder": ("volumeID",),
    "flexVolume": ("driver",),
    "gcePersistentDisk": ("pdName",),
    "gitRepo": ("repository",),
    "glusterfs": ("endpoints", "path"),
    "iscsi": ("targetPortal", "iqn"),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "quobyte": ("registry", "volume"),
    "rbd": ("monitors", "image"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "storageos": ("volumeName",),
    "vsphereVolume": ("volumePath",),
}
_ORDER = (
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
)
_RANKS: Mapping[str, int] = {name: rank for rank, name in enumerate(_ORDER)}
#: How upstream calls a source in the path of its own errors, and one that is too many, where that is not its name.
_CALLED: Mapping[str, str] = {"gcePersistentDisk": "persistentDisk"}
_SURPLUS: Mapping[str, str] = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}


def volumes(path: Path, listed: Sequence[Part], pod_name: str, usable: dict[str, Part]) -> Errors:
    """`pod_name`: "" where it is not known (templates). `usable` gets, by name, those that nothing is wrong with."""
    made = {f"{pod_name}-{volume.get('name') or ''}" for volume in listed if pod_name and volume.get("ephemeral")}
    for position, volume in enumerate(listed):
        here, name = path.index(position), volume.get("name") or ""
        errors = [*_source(here, volume, pod_name)]
        if not name:
            errors.append(fields.required(here.child("name")))
        else:
            errors += named(here.child("name"), name, names.dns1123_label)
        if name in usable:
            errors.append(fields.duplicate(here.child("name"), name))
        if not errors:
            usable[name] = volume
        yield from errors
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in made:
            where = here.child("persistentVolumeClaim").child("claimName")
            yield fields.invalid(where, claim, "must not reference a PVC that gets created for an ephemeral volume")


def host_path(path: Path, part: Part) -> Errors:
    where = part.get("path") or ""
    if not where:
        yield fields.required(path.child("path"))
        return
    yield from no_backsteps(path.child("path"), where)
    if part.get("type") is not None:
        yield from one_of(path.child("type"), part["type"], HOST_PATH_TYPES)


def _source(path: Path, volume: Part, pod_name: str) -> Errors:
    given = _given(volume, _RANKS)
    if not given:
        yield fields.required(path, "must specify a volume type")
        return
    name = given[0]
    check = _CHECKS.get(name)
    where = path.child(_CALLED.get(name, name))
    if check is not None:
        yield from check(where, volume[name])
    for field in REQUIRED_FIELDS.get(name, ()) if check is None else ():
        if not volume[name].get(field):
            yield fields.required(where.child(field))
    if name == "ephemeral" and pod_name and volume.get("name"):
        claim = f"{pod_name}-{volume['name']}"
        for message in names.dns1123_subdomain(claim):
            detail = f'PVC name "{claim}": {message}'
            yield fields.invalid(path.child("name"), volume["name"], detail)
    for other in given[1:]:
        yield fields.forbidden(path.child(_SURPLUS.get(other, other)), "may not specify more than 1 volume type")


def _given(part: Part, ranks: Mapping[str, int]) -> list[str]:
    """The sources that there are, in order: a volume names one or two, and there are thirty."""
    return sorted(
        (name for name, source in part.items() if source is not None and name in ranks), key=ranks.__getitem__
    )


def _empty_dir(path: Path, part: Part) -> Errors:
    limit = part.get("sizeLimit")
    if limit is not None and quantities.parse(limit).nano < 0:
        yield fields.forbidden(path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity")


def _secret(path: Path, part: Part) -> Errors:
    if not part.get("secretName"):
        yield fields.required(path.child("secretName"))
    yield from _mode(path.child("defaultMode"), part.get("defaultMode"))
    yield from _keys(path.child("items"), part.get("items") or ())


def _config_map(path: Path, part: Part) -> Errors:
    if not part.get("name"):
        yield fields.required(path.child("name"))
    yield from _mode(path.child("defaultMode"), part.get("defaultMode"))
    yield from _keys(path.child("items"), part.get("items") or ())


def _nfs(path: Path, part: Part) -> Errors:
    if not part.get("server"):
        yield fields.required(path.child("server"))
    if not part.get("path"):
        yield fields.required(path.child("path"))
    if not (where := part.get("path") or "").startswith("/"):
        yield fields.invalid(path.child("path"), where, "must be an absolute path")


def _claim(path: Path, part: Part) -> Errors:
    if not part.get("claimName"):
        yield fields.required(path.child("claimName"))


def _downward(path: Path, part: Part) -> Errors:
    yield from _mode(path.child("defaultMode"), part.get("defaultMode"))
    for item in part.get("items") or ():
        # Upstream names the source, not the item.
        yield from _downward_file(path, item)


def _downward_file(path: Path, item: Part) -> Errors:
    if not item.get("path"):
        yield fields.required(path.child("path"))
    else:
        yield from local_non_reserved(path.child("path"), item["path"])
    if item.get("fieldRef") is not None:
        yield from field_reference(path.child("fieldRef"), item["fieldRef"], VOLUME_FIELDS)
        if item.get("resourceFieldRef") is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            yield fields.invalid(path, "resource", detail)
    elif item.get("resourceFieldRef") is not None:
        yield from resource_reference(path.child("resourceFieldRef"), item["resourceFieldRef"], in_volume=True)
    else:
        yield fields.required(path, "one of fieldRef and resourceFieldRef is required")
    yield from _mode(path.child("mode"), item.get("mode"))


def _projected(path: Path, part: Part) -> Errors:
    if part == TOKEN_PROJECTION:
        return
    yield from _mode(path.child("defaultMode"), part.get("defaultMode"))
    taken: set[str] = set()
    for position, source in enumerate(part.get("sources") or ()):
        here = path.child("sources").index(position)
        given = _given(source, _PROJECTION_RANKS)
        for name in given:
            projected = source[name]
            yield from _PROJECTIONS[name](here.child(name), projected)
            if name == "serviceAccountToken":
                yield from _token_path(path.child("path"), projected.get("path") or "")
                continue
            for where in _projected_paths(projected):
                if where in taken:
                    shown = projected.get("name") or "" if name in ("secret", "configMap") else where
                    yield fields.invalid(path, shown, "conflicting duplicate paths")
                taken.add(where)
        if len(given) > 1:
            yield fields.forbidden(here, "may not specify more than 1 volume type per source")


def _projected_paths(part: Part) -> Sequence[str]:
    if part.get("path"):
        return [part["path"]]
    placed = [part[name] for name in _CERTIFICATE_PLACES if part.get(name)]
    return placed or [item["path"] for item in part.get("items") or () if item.get("path")]


def _named_projection(path: Path, part: Part) -> Errors:
    if not part.get("name"):
        yield fields.required(path.child("name"))
    yield from _keys(path.child("items"), part.get("items") or ())


def _downward_projection(path: Path, part: Part) -> Errors:
    for item in part.get("items") or ():
        yield from _downward_file(path, item)


def _token_projection(path: Path, part: Part) -> Errors:
    seconds = part.get("expirationSeconds") or 0
    if seconds < 10 * 60:
        yield fields.invalid(
            path.child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"
        )
    if seconds > 1 << 32:
        yield fields.invalid(
            path.child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"
        )


def _token_path(path: Path, where: str) -> Errors:
    """Where a token is; upstream names it as if it were the volume's own."""
    if not where:
        yield fields.required(path)
    else:
        yield from local_non_reserved(path, where)


def _trust_projection(path: Path, part: Part) -> Errors:
    name, signer = part.get("name"), part.get("signerName")
    if name is not None and signer is not None:
        yield fields.invalid(path, dict(part), "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            yield fields.required(path.child("name"), "must be a valid object name")
        for message in names.dns1123_subdomain(name.rpartition(":")[2]):
            yield fields.invalid(path.child("name"), name, f"not a valid clustertrustbundlename: {message}")
        if part.get("labelSelector") is not None:
            detail = "labelSelector must be unset if name is specified"
            yield fields.invalid(path.child("labelSelector"), part["labelSelector"], detail)
    elif signer is not None:
        # lazily: few pods have one
        from kube_core.registry.kinds.certificates import signer_name

        if not signer:
            yield fields.required(path.child("signerName"), "must be a valid signer name")
        yield from signer_name(path.child("signerName"), signer)
        yield from label_selector(path.child("labelSelector"), part.get("labelSelector"))
    else:
        yield fields.required(path, "either name or signerName must be specified")
    if not part.get("path"):
        yield fields.required(path.child("path"))
    else:
        yield from local_non_reserved(path.child("path"), part["path"])


def _certificate_projection(path: Path, part: Part) -> Errors:
    # lazily: few pods have one
    from kube_core.registry.kinds.certificates import signer_name
    from kube_core.registry.kinds.metadata import check_annotations
    from kube_core.registry.kinds.pod_certificates import lifetimes

    signer = part.get("signerName") or ""
    yield from signer_name(path.child("signerName"), signer)
    yield from check_annotations(path.child("userAnnotations"), part.get("userAnnotations"))
    if part.get("keyType") not in _KEY_TYPES:
        yield fields.not_supported(path.child("keyType"), part.get("keyType") or "", _KEY_TYPES)
    seconds = part.get("maxExpirationSeconds")
    if seconds is not None:
        shortest, longest = lifetimes(signer)
        limits = path.child("maxExpirationSeconds")
        if seconds < shortest:
            yield fields.invalid(limits, seconds, f"if provided, maxExpirationSeconds must be >= {shortest}")
        if seconds > longest:
            yield fields.invalid(limits, seconds, f"if provided, maxExpirationSeconds must be <= {longest}")
    places = [name for name in _CERTIFICATE_PLACES if part.get(name)]
    for name in places:
        yield from local_non_reserved(path.child(name), part[name])
    if not places:
        yield fields.required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath")


_KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_CERTIFICATE_PLACES = ("credentialBundlePath", "keyPath", "certificateChainPath")
_PROJECTIONS: Mapping[str, Callable[[Path, Part], Errors]] = {
    "secret": _named_projection,
    "configMap": _named_projection,
    "downwardAPI": _downward_projection,
    "serviceAccountToken": _token_projection,
    "clusterTrustBundle": _trust_projection,
    "podCertificate": _certificate_projection,
}
_PROJECTION_RANKS: Mapping[str, int] = {name: rank for rank, name in enumerate(_PROJECTIONS)}


def _csi(path: Path, part: Part) -> Errors:
    if not part.get("driver"):
        yield fields.required(path.child("driver"))
    else:
        driver = part["driver"]
        if len(driver) > 63:
            yield fields.too_long(path.child("driver"), 63)
        for message in names.dns1123_subdomain(driver.lower()):
            yield fields.invalid(path.child("driver"), driver, message)
    secret = part.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        yield fields.required(path.child("nodePublishSecretRef").child("name"))


#: What a claim's template may not say of its claims, and how upstream calls it.
_UNSET = {
    "name": "name",
    "generateName": "generateName",
    "namespace": "namespace",
    "selfLink": "selfLink",
    "uid": "uID",
    "resourceVersion": "resourceVersion",
    "generation": "generation",
    "creationTimestamp": "creationTimestamp",
    "deletionTimestamp": "deletionTimestamp",
    "deletionGracePeriodSeconds": "deletionGracePeriodSeconds",
    "ownerReferences": "ownerReferences",
    "finalizers": "finalizers",
    "managedFields": "managedFields",
}


def _ephemeral(path: Path, part: Part) -> Errors:
    from kube_core.registry.kinds.metadata import template_metadata
    from kube_core.registry.kinds.storage.claims import claim_spec  # lazily: few pods have one

    template = part.get("volumeClaimTemplate")
    here = path.child("volumeClaimTemplate")
    if template is None:
        yield fields.required(here)
        return
    metadata = template.get("metadata") or {}
    yield from template_metadata(here.child("metadata"), metadata)
    for name, shown in _UNSET.items():
        if metadata.get(name):
            yield fields.forbidden(here.child("metadata").child(shown), "cannot be set")
    yield from claim_spec(here.child("spec"), template.get("spec") or {})


def _image(path: Path, part: Part) -> Errors:
    if not part.get("reference"):
        yield fields.required(path.child("reference"))
    policy = part.get("pullPolicy") or ""
    if policy:
        yield from one_of(path.child("pullPolicy"), policy, ("Always", "IfNotPresent", "Never"))


_CHECKS: Mapping[str, Callable[[Path, Part], Errors]] = {
    "azureDisk": remote_volumes.azure_disk,
    "configMap": _config_map,
    "csi": _csi,
    "downwardAPI": _downward,
    "emptyDir": _empty_dir,
    "ephemeral": _ephemeral,
    "fc": remote_volumes.fibre_channel,
    "flocker": remote_volumes.flocker,
    "hostPath": host_path,
    "image": _image,
    "iscsi": remote_volumes.iscsi,
    "nfs": _nfs,
    "persistentVolumeClaim": _claim,
    "projected": _projected,
    "quobyte": remote_volumes.quobyte,
    "secret": _secret,
}


def _keys(path: Path, items: Sequence[Part]) -> Errors:
    for position, item in enumerate(items):
        here = path.index(position)
        if not item.get("key"):
            yield fields.required(here.child("key"))
        if not item.get("path"):
            yield fields.required(here.child("path"))
        else:
            yield from local_non_reserved(here.child("path"), item["path"])
        yield from _mode(here.child("mode"), item.get("mode"))


def _mode(path: Path, mode: int | None) -> Errors:
    if mode is not None and not 0 <= mode <= _MODE_LIMIT:
        yield fields.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")
