"""ServiceAccount: a pod gets a service account, and a projected token of it mounted into every container.

Mirrors upstream's plugin of this name. A static pod (one that mirrors a file of its node) may not use an account.
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.status import forbidden
from kube_core.registry.context import Attributes, Operation
from kube_core.registry.kinds.pods.token_volume import TOKEN_PROJECTION

__all__ = ["ServiceAccount"]

_ACCOUNTS = ResourceType("", "v1", "ServiceAccount", "serviceaccounts", True)
_MIRROR = "kubernetes.io/config.mirror"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


class ServiceAccount(AdmissionPlugin):
    name: ClassVar[str] = "ServiceAccount"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE"})
    resources: ClassVar[frozenset[str]] = frozenset({"pods"})

    async def mutate(self, attributes: Attributes) -> None:
        pod = attributes.object
        if pod is None or attributes.subresource:
            return
        spec: MutableDocument = pod.setdefault("spec", {})
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            if spec.get("serviceAccountName"):
                raise forbidden(
                    attributes.resource.group_resource,
                    attributes.key.name,
                    "a mirror pod may not reference service accounts",
                )
            return
        name = spec.get("serviceAccountName") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = self.context.reader.get(_ACCOUNTS, Key(attributes.key.namespace, name))
        if account is None:
            why = (
                f'error looking up service account {attributes.key.namespace}/{name}: serviceaccount "{name}" not found'
            )
            raise forbidden(attributes.resource.group_resource, attributes.key.name, why)
        if _mounts_token(spec, account):
            self._mount(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]

    def _mount(self, spec: MutableDocument) -> None:
        """Add the token volume to every container that has nothing of its own at that path."""
        containers: list[MutableDocument] = [
            container for field in ("initContainers", "containers") for container in spec.get(field) or ()
        ]
        without = [container for container in containers if not _has_mount(container)]
        if not without:
            return
        existing = next((volume for volume in spec.get("volumes") or () if _is_token_volume(volume)), None)
        name = existing["name"] if existing is not None else f"kube-api-access-{self.context.random.suffix(5)}"
        for container in without:
            mount = {"name": name, "readOnly": True, "mountPath": TOKEN_PATH}
            container.setdefault("volumeMounts", []).append(mount)
        if existing is None:
            spec.setdefault("volumes", []).append({"name": name, "projected": thaw(TOKEN_PROJECTION)})


def _mounts_token(spec: Document, account: Document) -> bool:
    for holder in (spec, account):
        wanted = holder.get("automountServiceAccountToken")
        if wanted is not None:
            return bool(wanted)
    return True


def _has_mount(container: Document) -> bool:
    return any(mount.get("mountPath") == TOKEN_PATH for mount in container.get("volumeMounts") or ())


def _is_token_volume(volume: Document) -> bool:
    return str(volume.get("name", "")).startswith("kube-api-access-") and "projected" in volume
