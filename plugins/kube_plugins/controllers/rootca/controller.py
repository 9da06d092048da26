"""The ConfigMap `kube-root-ca.crt` in every active namespace: by which authority pods know the API server.

Mirrors upstream's root-ca-certificate-publisher-controller. Keys are namespaces. The authority is, of these, the first
that there is: the driver `cluster_ca` (PEM, bytes or text) that the program gives, the one that the controller's own
connection trusts, and `client-ca-file` in the ConfigMap kube-system/extension-apiserver-authentication. Until there is
one, nothing is published.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api.resources import CONFIG_MAPS, NAMESPACES
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, Watch
from kube_core.meta.documents import Document, Key, MutableDocument, annotations_of, name_of, namespace_of, thaw
from kube_core.meta.status import AlreadyExists, Forbidden
from kube_plugins.controllers.namespace.phase import is_active, is_terminating_error

__all__ = ["RootCertificatePublisher"]

_NAME = "kube-root-ca.crt"
_DATA_KEY = "ca.crt"
_DESCRIPTION = "kubernetes.io/description"
_DESCRIPTION_TEXT = "The authority that vouches for this cluster's API server, as pods of the cluster reach it."
_SERVER_AUTHENTICATION = Key("kube-system", "extension-apiserver-authentication")


class RootCertificatePublisher(Controller):
    """See the module's docstring."""

    def watches(self) -> Iterable[Watch]:
        yield Watch(NAMESPACES)
        yield Watch(CONFIG_MAPS, self._to_namespaces)

    async def reconcile(self, key: Key) -> Action:
        namespace = self.context.informers.lister(NAMESPACES).get(key)
        authority = self._authority()
        if namespace is None or not authority or not is_active(namespace):
            return await_change()
        present = self.context.informers.lister(CONFIG_MAPS).get(Key(key.name, _NAME))
        if present is None:
            await self._create(key.name, authority)
        elif present.get("data") != {_DATA_KEY: authority} or _DESCRIPTION not in annotations_of(present):
            changed: MutableDocument = thaw(present)
            changed["data"] = {_DATA_KEY: authority}
            changed["metadata"].setdefault("annotations", {})[_DESCRIPTION] = _DESCRIPTION_TEXT
            await self.client.update(CONFIG_MAPS, changed)
        return await_change()

    async def _create(self, namespace: str, authority: str) -> None:
        metadata = {"name": _NAME, "namespace": namespace, "annotations": {_DESCRIPTION: _DESCRIPTION_TEXT}}
        try:
            await self.client.create(CONFIG_MAPS, {"metadata": metadata, "data": {_DATA_KEY: authority}})
        except AlreadyExists:
            pass  # the cache has yet to show it
        except Forbidden as error:
            if not is_terminating_error(error):
                raise

    def _authority(self) -> str:
        given = self.context.drivers.get("cluster_ca")
        if given:
            return given.decode() if isinstance(given, bytes) else str(given)
        connection = getattr(self.client.transport, "connection", None)
        if connection is not None and connection.certificate_authority:
            return str(connection.certificate_authority.decode())
        published = self.context.informers.lister(CONFIG_MAPS).get(_SERVER_AUTHENTICATION)
        return str((published or {}).get("data", {}).get("client-ca-file", ""))

    def _to_namespaces(self, document: Document) -> Iterable[Key]:
        name = name_of(document)
        if name == _NAME:
            yield Key("", namespace_of(document))
        elif name == _SERVER_AUTHENTICATION.name and namespace_of(document) == _SERVER_AUTHENTICATION.namespace:
            for namespace in self.context.informers.lister(NAMESPACES).list():
                yield Key("", name_of(namespace))
