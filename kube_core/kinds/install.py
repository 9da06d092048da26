"""Brings kinds to a server: definitions and configurations of webhooks by server-side apply, until they are served.

Applying is forced, as the program says what its kinds are, and repeated applying of the same changes nothing.
`client_config` says how the server reaches a path of `reviews`: it is all that differs between functions in process and
functions behind a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from kube_core._kit.clock import Clock
from kube_core.abc.transport import WatchRequest
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.kinds.bundle import Bundle
from kube_core.kinds.definitions import definitions
from kube_core.kinds.functions import AdmissionFunction
from kube_core.kinds.reviews import admission_path, conversion_path
from kube_core.meta.documents import Document
from kube_core.meta.status import Expired

__all__ = ["FIELD_MANAGER", "InstallError", "configurations", "configure", "install", "wanted_definitions"]

FIELD_MANAGER: Final = "kube-core-kinds"
_DEFINITIONS_ALONE: Final = "kube-core-crds"

#: The `clientConfig` for a path.
ClientConfig = Callable[[str], Document]


class InstallError(Exception):
    """A definition is not served; the message says which, and why."""


def wanted_definitions(bundle: Bundle, client_config: ClientConfig | None = None) -> list[dict[str, Any]]:
    """The definitions of a bundle. Without `client_config` nothing is said of conversion."""
    names = bundle.converted if client_config is not None else ()
    conversions = {name: client_config(conversion_path(name)) for name in names} if client_config is not None else {}
    return definitions(bundle.declarations, conversions)


def configurations(bundle: Bundle, client_config: ClientConfig, name: str) -> list[dict[str, Any]]:
    """The configurations of webhooks for the functions of a bundle, all in one of each kind, called `name`."""
    found = []
    for kind, mutates in (("MutatingWebhookConfiguration", True), ("ValidatingWebhookConfiguration", False)):
        functions = [each for each in bundle.functions if each.mutates is mutates]
        if functions:
            found.append(_configuration(kind, name, functions, client_config))
    return found


async def install(
    client: ApiClient,
    bundle: Bundle,
    client_config: ClientConfig | None = None,
    *,
    clock: Clock,
    timeout: float = 30.0,
) -> Sequence[Document]:
    """Apply the definitions of a bundle, and return them when all are established.

    `timeout` is in seconds. Raises `InstallError`, `KindError`, and StatusErrors of the server.
    """
    # Who says nothing of conversion must not take back what the program that converts has said.
    writer = client.with_field_manager(FIELD_MANAGER if client_config is not None else _DEFINITIONS_ALONE)
    definition = resources.CUSTOM_RESOURCE_DEFINITIONS
    documents = wanted_definitions(bundle, client_config)
    applied = [await writer.apply(definition, each, force=True) for each in documents]
    try:
        async with clock.timeout(timeout):
            return [await _established(client, each) for each in applied]
    except TimeoutError:
        names = ", ".join(each["metadata"]["name"] for each in applied)
        raise InstallError(f"not established after {timeout:g} seconds: {names}") from None


async def configure(client: ApiClient, documents: Sequence[Document]) -> None:
    """Apply configurations of webhooks. Raises StatusErrors."""
    writer = client.with_field_manager(FIELD_MANAGER)
    for each in documents:
        await writer.apply(_RESOURCES[each["kind"]], each, force=True)


_RESOURCES: Final = {
    "MutatingWebhookConfiguration": resources.MUTATING_WEBHOOK_CONFIGURATIONS,
    "ValidatingWebhookConfiguration": resources.VALIDATING_WEBHOOK_CONFIGURATIONS,
}


def _configuration(
    kind: str, name: str, functions: Sequence[AdmissionFunction], client_config: ClientConfig
) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": FIELD_MANAGER}},
        "webhooks": [each.webhook(client_config(admission_path(each))) for each in functions],
    }


async def _established(client: ApiClient, definition: Document) -> Document:
    """Return a definition when it is established. Raises `InstallError` when it will not be."""
    resource, name = resources.CUSTOM_RESOURCE_DEFINITIONS, definition["metadata"]["name"]
    while True:
        if _is_established(definition):
            return definition
        version = definition["metadata"]["resourceVersion"]
        try:
            # One watch as the server gives it, so that its end is told.
            async for event in client.transport.watch(WatchRequest(resource, name=name, resource_version=version)):
                if event.type == "DELETED":
                    raise InstallError(f"{name} was deleted")
                if event.type in ("ADDED", "MODIFIED") and _is_established(event.object):
                    return event.object
        except Expired:
            pass
        # A watch ends now and then, by itself.
        definition = await client.get(resource, name)


def _is_established(definition: Document) -> bool:
    """Raises `InstallError` for a definition that cannot be, as another has its names."""
    conditions = {each["type"]: each for each in (definition.get("status") or {}).get("conditions") or ()}
    accepted = conditions.get("NamesAccepted", {})
    if accepted.get("status") == "False":
        raise InstallError(f"{definition['metadata']['name']}: {accepted.get('message')}")
    # After a change of the schema it stays established, and serves the new one at once.
    return bool(conditions.get("Established", {}).get("status") == "True")
