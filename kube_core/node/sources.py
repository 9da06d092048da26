"""What pods refer to, read from the API when it is needed: ConfigMaps, Secrets, claims, classes, bundles, tokens.

Reads go straight to the server and are not kept: what a container starts with is what was there when it started, and
a volume is brought up to date by looking again. Only those who ask for the same while it is being read share the next
read. A read that fails otherwise than by "not found" is raised, so that whoever asked tries again later.
"""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document, MutableDocument, name_of, namespace_of, uid_of
from kube_core.meta.status import NotFound
from kube_core.node.sharing import SharedReads

__all__ = ["ApiSources"]


class ApiSources:
    """Reads through the node's client."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._reads = SharedReads()

    async def config_map(self, namespace: str, name: str) -> Document | None:
        return await self._get(resources.CONFIG_MAPS, name, namespace)

    async def secret(self, namespace: str, name: str) -> Document | None:
        return await self._get(resources.SECRETS, name, namespace)

    async def claim(self, namespace: str, name: str) -> Document | None:
        return await self._get(resources.PERSISTENT_VOLUME_CLAIMS, name, namespace)

    async def volume(self, name: str) -> Document | None:
        return await self._get(resources.PERSISTENT_VOLUMES, name, "")

    async def runtime_class(self, name: str) -> Document | None:
        return await self._get(resources.RUNTIME_CLASSES, name, "")

    async def service_account(self, namespace: str, name: str) -> Document:
        return await self._client.get(resources.SERVICE_ACCOUNTS, name, namespace)

    async def request_certificate(self, request: Document) -> Document:
        """The PodCertificateRequest that was made of `request`."""
        return await self._client.create(resources.POD_CERTIFICATE_REQUESTS, request, namespace_of(request))

    async def trust_bundle(self, name: str) -> Document | None:
        return await self._get(resources.CLUSTER_TRUST_BUNDLES, name, "")

    async def trust_bundles(self) -> Sequence[Document]:
        return (await self._client.list(resources.CLUSTER_TRUST_BUNDLES)).items

    async def token(self, pod: Document, *, audience: str, seconds: int) -> Document:
        """A token of the pod's service account, bound to the pod: the answered `TokenRequest`."""
        spec: MutableDocument = {
            "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)},
            "audiences": [audience] if audience else [],
        }
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        account = pod["spec"].get("serviceAccountName") or "default"
        return await self._client.create_subresource(
            resources.SERVICE_ACCOUNTS, account, "token", request, namespace_of(pod)
        )

    async def _get(self, resource: ResourceType, name: str, namespace: str) -> Document | None:
        key = (resource.plural, namespace, name)
        return await self._reads.read(key, lambda: self._read(resource, name, namespace))

    async def _read(self, resource: ResourceType, name: str, namespace: str) -> Document | None:
        try:
            return await self._client.get(resource, name, namespace)
        except NotFound:
            return None
