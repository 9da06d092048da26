"""Pulling images from registries: the OCI distribution API (Docker's registry HTTP API v2).

What always holds: nothing that a registry says is taken without its digest agreeing; what was pulled stays, so that a
pull which was broken off goes on with the layers that are missing; a tag moves only once everything behind it is here.

Mirrors are asked in order, then the registry itself; the first that has the image gives all of it. Authentication is by
bearer tokens (from the service that the registry names) or by name and password.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
import attrs
import orjson

from kube_core.abc.runtime import ImageFailure, RegistryCredentials
from kube_drivers.runtime.oci.images.archives import choose_platform
from kube_drivers.runtime.oci.images.blobs import digest_of
from kube_drivers.runtime.oci.images.references import ImageName
from kube_drivers.runtime.oci.images.registries import Registries, Registry
from kube_drivers.runtime.oci.images.store import Adding, ImageConfig, ImageStore, machine_platform

if TYPE_CHECKING:
    import aiohttp

__all__ = ["pull"]

_T = TypeVar("_T")

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_BLOCK = 1 << 18
_MANIFEST_LIMIT = 4 << 20
_MOST_NESTED = 4
#: Seconds without a byte after which a registry is given up.
_SILENCE = 30.0
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
#: Who asks for tokens.
_CLIENT = "kube-core"
#: Layers that are fetched at once.
_AT_ONCE = 3


async def pull(
    store: ImageStore, name: ImageName, registries: Registries, credentials: RegistryCredentials | None = None
) -> str:
    """Have an image present; the digest of its manifest. Raises `ImageFailure`."""
    import aiohttp  # lazily: a node whose images are all loaded never needs it

    registry = registries.of(name.registry)
    if registry.offline:
        raise ImageFailure(
            f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": {name}: not found '
            f"(the registry {name.registry} is said to be offline)"
        )
    failures: list[str] = []
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        for endpoint in registries.endpoints(name.registry):
            remote = _Remote(session, endpoint, name, registry, credentials)
            try:
                return await _pull_from(remote, store, name)
            except _Unavailable as error:
                failures.append(str(error))
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                failures.append(f"{endpoint}: {str(error) or type(error).__name__}")
    raise ImageFailure(
        f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": {"; ".join(failures)}'
    )


class _Unavailable(Exception):
    """This endpoint does not have it, or does not give it."""


async def _pull_from(remote: _Remote, store: ImageStore, name: ImageName) -> str:
    reference = name.digest or name.tag
    raw, asked = await remote.manifest(reference)
    if name.digest and asked != name.digest:
        raise ImageFailure(f"{name} is damaged: what arrived is {asked}")
    manifest, digest = raw, asked
    for _ in range(_MOST_NESTED):
        document = _parsed(manifest, digest)
        if "manifests" not in document:
            break
        digest = str(choose_platform(document["manifests"], str(name))["digest"])
        manifest, _found = await remote.manifest(digest)
    else:
        raise ImageFailure(f"{name}: its index leads to an index, and so on")
    names = [str(name), f"{name.bare}@{asked}"]
    async with _in_threads(store.adding()) as adding:
        await _fetch_all(remote, adding, document, str(name))
        await anyio.to_thread.run_sync(lambda: adding.name(adding.blobs.add(manifest), names))
    return digest


async def _fetch_all(remote: _Remote, adding: Adding, manifest: Mapping[str, Any], what: str) -> None:
    """The configuration and every layer that is not here, layers unpacked from the lowest up."""
    try:
        about, layers = manifest["config"], list(manifest["layers"])
        await remote.blob(adding, str(about["digest"]), int(about["size"]))
        config = ImageConfig.parse(adding.blobs.document(str(about["digest"])))
    except (KeyError, TypeError, ValueError):
        raise ImageFailure(f"{what}: its manifest is of a kind that is not supported") from None
    if config.platform != machine_platform():
        raise ImageFailure(
            f"no match for platform in manifest: {what} is for {config.platform}, "
            f"and this machine is {machine_platform()}"
        )
    if len(layers) != len(config.diff_ids):
        raise ImageFailure(f"{what} has {len(layers)} layers, and names {len(config.diff_ids)}: it is damaged")
    chains = [config.diff_ids[:number] for number in range(1, len(layers) + 1)]
    missing = [not adding.has_layer(chain) for chain in chains]
    few = asyncio.Semaphore(_AT_ONCE)

    async def fetch(layer: Mapping[str, Any]) -> None:
        async with few:
            await remote.blob(adding, str(layer["digest"]), int(layer["size"]))

    async with contextlib.AsyncExitStack() as stack:
        fetching = [asyncio.create_task(fetch(layer)) for layer, needed in zip(layers, missing, strict=True) if needed]
        stack.push_async_callback(_end, fetching)
        waiting = iter(fetching)
        for layer, chain, needed in zip(layers, chains, missing, strict=True):
            if needed:
                await next(waiting)
                await anyio.to_thread.run_sync(_unpack, adding, str(layer["digest"]), chain)


def _unpack(adding: Adding, digest: str, chain: tuple[str, ...]) -> None:
    path = adding.blobs.path(digest)
    with open(path, "rb") as archive:
        adding.unpack(archive, chain)
    path.unlink(missing_ok=True)  # unpacked, it is of no use any more


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _in_threads(context: contextlib.AbstractContextManager[_T]) -> AsyncIterator[_T]:
    """A context that waits for the disk when it is entered and left."""
    entered = await anyio.to_thread.run_sync(context.__enter__)
    try:
        yield entered
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            swallowed = await anyio.to_thread.run_sync(context.__exit__, type(error), error, error.__traceback__)
        if not swallowed:
            raise
    else:
        await anyio.to_thread.run_sync(context.__exit__, None, None, None)


def _parsed(raw: bytes, digest: str) -> dict[str, Any]:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ImageFailure(f"the manifest {digest} is damaged: {error}") from None
    if not isinstance(document, dict):
        raise ImageFailure(f"the manifest {digest} is damaged: it is not an object")
    return document


@attrs.define(eq=False)
class _Remote:
    """One repository at one endpoint."""

    _session: aiohttp.ClientSession
    _endpoint: str
    _name: ImageName
    _registry: Registry
    _credentials: RegistryCredentials | None
    _authorization: str = attrs.field(default="", init=False)
    _authorizing: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    async def manifest(self, reference: str) -> tuple[bytes, str]:
        """A manifest or an index, and its digest."""
        accept = {"Accept": ", ".join(_MANIFESTS)}
        async with self._get(f"manifests/{reference}", accept) as response:
            raw = await response.content.read(_MANIFEST_LIMIT + 1)
            while len(raw) <= _MANIFEST_LIMIT and (more := await response.content.read(_MANIFEST_LIMIT + 1 - len(raw))):
                raw += more
        if len(raw) > _MANIFEST_LIMIT:
            raise ImageFailure(f"{self._name}: its manifest is larger than {_MANIFEST_LIMIT} bytes")
        digest = digest_of(raw)
        if ":" in reference and digest != reference:
            raise ImageFailure(f"{reference} is damaged: what arrived is {digest}")
        return raw, digest

    async def blob(self, adding: Adding, digest: str, size: int) -> None:
        """Fetch a blob unless it is here."""
        if adding.blobs.has(digest):
            return
        writing = _in_threads(adding.blobs.writing(digest, size))
        async with self._get(f"blobs/{digest}", {}) as response, writing as writer:
            async for block in response.content.iter_chunked(_BLOCK):
                await anyio.to_thread.run_sync(writer.write, block)

    @contextlib.asynccontextmanager
    async def _get(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self._endpoint}/v2/{self._name.repository}/{path}"
        for attempt in range(2):
            used = self._authorization
            sent = {**headers, **({"Authorization": used} if used else {})}
            async with self._session.get(url, headers=sent, ssl=self._trust()) as response:
                if response.status == 401 and attempt == 0:
                    await self._authorize(response, used)
                    continue
                if response.status == 404:
                    raise _Unavailable(f"{self._name}: not found")
                if response.status in (401, 403):
                    raise _Unavailable(
                        "pull access denied, repository does not exist or may require authorization: "
                        "authorization failed"
                    )
                if response.status != 200:
                    raise _Unavailable(f"unexpected status from GET request to {url}: {response.status}")
                yield response
                return

    def _trust(self) -> ssl.SSLContext | bool:
        if self._registry.ca:
            return ssl.create_default_context(cafile=self._registry.ca)
        return not self._registry.insecure

    async def _authorize(self, response: aiohttp.ClientResponse, used: str) -> None:
        """By what a refusal asks for. Raises `_Unavailable`."""
        async with self._authorizing:
            if self._authorization != used:
                return  # somebody else did it meanwhile
            kind, _, rest = response.headers.get("WWW-Authenticate", "").partition(" ")
            if kind.lower() == "basic":
                self._authorization = self._basic() or _refused(self._name)
            elif kind.lower() == "bearer":
                self._authorization = f"Bearer {await self._token(dict(_CHALLENGE.findall(rest)))}"
            else:
                _refused(self._name)

    async def _token(self, challenge: Mapping[str, str]) -> str:
        given = self._credentials
        if given is not None and given.registry_token:
            return given.registry_token
        realm = challenge.get("realm") or _refused(self._name)
        query = {
            "scope": challenge.get("scope") or f"repository:{self._name.repository}:pull",
            **({"service": challenge["service"]} if "service" in challenge else {}),
        }
        if given is not None and given.identity_token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "refresh_token": given.identity_token,
                "client_id": "kube-core",
            }
            request = self._session.post(realm, data=form, ssl=self._trust())
        else:
            basic = self._basic()
            request = self._session.get(
                realm, params=query, headers={"Authorization": basic} if basic else {}, ssl=self._trust()
            )
        async with request as response:
            if response.status != 200:
                _refused(self._name)
            answer = orjson.loads(await response.read())
        token = answer.get("token") or answer.get("access_token")
        return str(token) if token else _refused(self._name)

    def _basic(self) -> str:
        import base64

        given = self._credentials
        name = given.username if given is not None and given.username else self._registry.username
        password = given.password if given is not None and given.username else self._registry.password
        return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}" if name else ""


def _refused(name: ImageName) -> str:
    raise _Unavailable(
        f"pull access denied for {name.bare}, repository does not exist or may require authorization: "
        "authorization failed"
    )
