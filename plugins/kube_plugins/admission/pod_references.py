"""What a pod needs of the cluster: the objects that a mirror pod must not name, and the audiences of its tokens.

A mirror pod shows what a node runs without having been told; if it could name a secret, the node could read it.
NodeRestriction asks both questions, and words its refusals with the first answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kube_core.admission.chain import Reader
from kube_core.api.resources import CSI_DRIVERS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kube_core.meta.documents import Document, Key, name_of, namespace_of

__all__ = ["first_reference", "names_audience"]

#: Kinds of volumes that name objects, in upstream's words.
_VOLUMES: Final = {
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "azureFile": "secrets (via azureFile volumes)",
}
_PROJECTED: Final = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}
#: Where volumes of other kinds name the secret that their storage wants.
_SECRETS_OF_VOLUMES: Final = ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")


def first_reference(pod: Document) -> str:
    """What of the API a pod refers to, in upstream's words; "" where it stands alone."""
    spec = pod.get("spec") or {}
    if spec.get("serviceAccountName"):
        return "serviceaccounts"
    volumes = spec.get("volumes") or ()
    sources = [*_environment(spec), *(each for volume in volumes for each in _sources(volume))]
    secret = spec.get("imagePullSecrets") or any(_names_secret(volume) for volume in volumes)
    if secret or any(field in source for source in sources for field in ("secretRef", "secretKeyRef", "secret")):
        return "secrets"
    config = any("configMap" in volume for volume in volumes)
    if config or any(
        field in source for source in sources for field in ("configMapRef", "configMapKeyRef", "configMap")
    ):
        return "configmaps"
    if spec.get("resourceClaims"):
        return "resourceclaims"
    for volume in volumes:
        named = next((word for kind, word in _VOLUMES.items() if kind in volume), "")
        named = named or next(
            (word for kind, word in _PROJECTED.items() for each in _sources(volume) if kind in each), ""
        )
        if named:
            return named
    return ""


def names_audience(pod: Document, audience: str, reader: Reader) -> bool:
    """Whether a volume of the pod wants tokens for an audience ("": the server's own).

    Raises `LookupError` where no volume does, but one could not be looked at to its end.
    """
    missing = ""
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if any((each.get("serviceAccountToken") or {"audience": None}).get("audience", "") == audience
               for each in _sources(volume)):  # fmt: skip
            return True
        try:
            name = _driver(pod, volume, reader)
            driver = _found(reader, CSI_DRIVERS, Key("", name)) if name else {}
        except LookupError as error:
            missing = str(error)
            continue
        if any(each.get("audience", "") == audience for each in (driver.get("spec") or {}).get("tokenRequests") or ()):
            return True
    if missing:
        raise LookupError(missing)
    return False


def _driver(pod: Document, volume: Mapping[str, Any], reader: Reader) -> str:
    """The CSI driver behind a volume; "" where there is none. Raises `LookupError`."""
    if volume.get("ephemeral"):
        claim = f"{name_of(pod)}-{volume['name']}"
    elif volume.get("persistentVolumeClaim"):
        claim = volume["persistentVolumeClaim"].get("claimName", "")
    else:
        return str((volume.get("csi") or {}).get("driver", ""))
    bound = _found(reader, PERSISTENT_VOLUME_CLAIMS, Key(namespace_of(pod), claim))
    held = _found(reader, PERSISTENT_VOLUMES, Key("", (bound.get("spec") or {}).get("volumeName") or ""))
    return str(((held.get("spec") or {}).get("csi") or {}).get("driver", ""))


def _found(reader: Reader, resource: Any, key: Key) -> Document:
    document = reader.get(resource, key)
    if document is None:
        raise LookupError(f'{resource.plural}{"." if resource.group else ""}{resource.group} "{key.name}" not found')
    return document


def _environment(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for list_name in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(list_name) or ():
            yield from container.get("envFrom") or ()
            yield from (each.get("valueFrom") or {} for each in container.get("env") or ())


def _sources(volume: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((volume.get("projected") or {}).get("sources") or ())


def _names_secret(volume: Mapping[str, Any]) -> bool:
    if "secret" in volume or "azureFile" in volume or "nodePublishSecretRef" in (volume.get("csi") or {}):
        return True
    return any("secretRef" in (volume.get(kind) or {}) for kind in _SECRETS_OF_VOLUMES)
