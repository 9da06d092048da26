"""What a server serves: every resource with its verbs, in the version that the server prefers.

One request each for the core group and for all others where the server speaks aggregated discovery, one for each
group version where it does not. A group that does not answer (an aggregated API whose server is away) is named in
`failures`, and the others are there all the same; who deletes things by discovery must look at both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from kube_core.abc.transport import Request
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document
from kube_core.meta.status import StatusError

__all__ = ["Discovered", "Discovery", "ServedResource", "discover"]

_ROOTS = ("/api", "/apis")
_NOT_MODIFIED = 304
_AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@attrs.frozen
class ServedResource:
    """A resource and what can be done with it (subresources are left out)."""

    type: ResourceType
    verbs: frozenset[str]
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def is_called(self, name: str) -> bool:
        """Whether that is its plural, singular or short name, or its kind, which is its singular where it has none."""
        singular = self.singular or self.type.kind.lower()
        return name in (self.type.plural, self.type.kind, singular, *self.short_names)


@attrs.frozen
class Discovered:
    """`resources` holds each resource once, in its preferred version; `failures`: group version → what went wrong."""

    resources: Sequence[ServedResource]
    failures: Mapping[str, str]
    #: Every resource in every version, preferred versions first within each group.
    versions: Sequence[ServedResource] = ()

    def supporting(self, *verbs: str) -> list[ResourceType]:
        """The resources that know all of these verbs."""
        return [resource.type for resource in self.resources if resource.verbs.issuperset(verbs)]

    def find(self, name: str, api_version: str = "") -> ResourceType | None:
        """What a person means by `deployments`, `deploy`, `deployments.apps`, `deployments.v1.apps` or a kind.

        Where two groups have a name, that of the group which discovery lists first is meant, as with kubectl.
        """
        if api_version:
            wanted = [each for each in self.versions if each.type.api_version == api_version]
            return next((each.type for each in wanted if each.is_called(name) or each.is_called(name.lower())), None)
        first, _, rest = name.partition(".")
        version, _, group = rest.partition(".")
        for called in (first, first.lower()):
            for each in self.resources:
                if each.is_called(called) and (not rest or each.type.group == rest):
                    return each.type
            for each in self.versions:
                if rest and each.is_called(called) and (each.type.version, each.type.group) == (version, group):
                    return each.type
        return None


async def discover(client: ApiClient) -> Discovered:
    """Ask the server once. Raises the `StatusError` of a server that does not answer at all."""
    return await Discovery(client).ask()


class Discovery:
    """For who asks again and again: a server that speaks aggregated discovery says only whether something changed."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        #: What was answered last, by path, and the tag that the server gave it.
        self._answers: dict[str, tuple[str, Document]] = {}
        self._last: Discovered | None = None

    async def ask(self) -> Discovered:
        """What is served now: the same object as before, as long as nothing changed. Raises `StatusError`."""
        changed = self._last is None or bool(self._last.failures)
        for root in _ROOTS:
            tag, _ = self._answers.get(root, ("", {}))
            headers = {"accept": _AGGREGATED, **({"if-none-match": tag} if tag else {})}
            response = await self._client.transport.request(Request("GET", root, headers=headers))
            if response.status != _NOT_MODIFIED:
                tags = [value for name, value in response.headers.items() if name.lower() == "etag"]
                self._answers[root] = tags[0] if tags else "", response.decoded() or {}
                changed = True
        if changed or self._last is None:
            self._last = await self._read()
        return self._last

    async def _read(self) -> Discovered:
        found: dict[tuple[str, str], ServedResource] = {}
        versions: list[ServedResource] = []
        failures: dict[str, str] = {}
        for root in _ROOTS:
            _, document = self._answers[root]
            if document.get("kind") == "APIGroupDiscoveryList":
                resources = _from_aggregated(document, failures)
            elif root == "/api":
                resources = await _from_versions(self._client, "", document.get("versions") or (), failures)
            else:
                resources = await _from_groups(self._client, document, failures)
            for resource in resources:
                versions.append(resource)
                found.setdefault((resource.type.group, resource.type.plural), resource)
        return Discovered(list(found.values()), failures, versions)


def _from_aggregated(document: Document, failures: dict[str, str]) -> Iterable[ServedResource]:
    for group in document.get("items") or ():
        name = str((group.get("metadata") or {}).get("name") or "")
        for version in group.get("versions") or ():
            api_version = f"{name}/{version['version']}" if name else str(version["version"])
            if version.get("freshness") == "Stale":
                failures[api_version] = f"stale GroupVersion discovery: {api_version}"
            for resource in version.get("resources") or ():
                kind = resource.get("responseKind") or {}
                yield ServedResource(
                    ResourceType(
                        group=name,
                        version=str(version["version"]),
                        kind=str(kind.get("kind") or ""),
                        plural=str(resource["resource"]),
                        namespaced=resource.get("scope") == "Namespaced",
                    ),
                    frozenset(resource.get("verbs") or ()),
                    str(resource.get("singularResource") or ""),
                    tuple(resource.get("shortNames") or ()),
                    tuple(resource.get("categories") or ()),
                )


async def _from_groups(client: ApiClient, document: Document, failures: dict[str, str]) -> list[ServedResource]:
    resources: list[ServedResource] = []
    for group in document.get("groups") or ():
        preferred = str((group.get("preferredVersion") or {}).get("version") or "")
        versions = [str(version["version"]) for version in group.get("versions") or ()]
        versions.sort(key=lambda version: version != preferred)
        resources += await _from_versions(client, str(group["name"]), versions, failures)
    return resources


async def _from_versions(
    client: ApiClient, group: str, versions: Iterable[str], failures: dict[str, str]
) -> list[ServedResource]:
    resources: list[ServedResource] = []
    for version in versions:
        api_version = f"{group}/{version}" if group else version
        try:
            document = await client.get_path(f"/apis/{api_version}" if group else f"/api/{version}")
        except StatusError as error:
            failures[api_version] = error.message
            continue
        resources += [
            ServedResource(
                ResourceType(
                    group=group,
                    version=version,
                    kind=str(entry.get("kind") or ""),
                    plural=str(entry["name"]),
                    namespaced=bool(entry.get("namespaced")),
                ),
                frozenset(entry.get("verbs") or ()),
                str(entry.get("singularName") or ""),
                tuple(entry.get("shortNames") or ()),
                tuple(entry.get("categories") or ()),
            )
            for entry in document.get("resources") or ()
            if "/" not in entry["name"]
        ]
    return resources
