"""Keys that a service keeps: values in upstream's form, keys that change, a service that is away."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from fakes.kms import KeyService, key_service
from fakes.server import Caller, running
from kube_core._kit.clock import FakeClock
from kube_core.abc.store import Put, StoreCorrupt, StoreError, Transaction
from kube_core.api.config_files import ConfigFileError
from kube_core.storage.encryption import EncryptedStore, read_encryption_configuration
from kube_core.storage.encryption.kms_messages import SEED, message
from kube_drivers.store.memory import MemoryStore

pytestmark = pytest.mark.anyio

SECRETS = "/api/v1/namespaces/default/secrets"
KEY = "/registry/core/secrets/default/db"
SECRET = {"metadata": {"name": "db"}, "stringData": {"password": "correct-horse-battery"}}
PLAIN = base64.b64encode(b"correct-horse-battery").decode()
PREFIX = b"k8s:enc:kms:v2:mine:"


def configuration(directory: Path, *providers: str) -> Path:
    file = directory / "encryption.yaml"
    lines = "".join(f"  - {provider}\n" for provider in providers)
    file.write_text(
        "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n"
        f"resources:\n- resources: [secrets]\n  providers:\n{lines}"
    )
    return file


def kms(socket: Path, name: str = "mine", **fields: str) -> str:
    more = "".join(f", {field}: {value}" for field, value in fields.items())
    return f"kms: {{apiVersion: v2, name: {name}, endpoint: 'unix://{socket}'{more}}}"


@pytest.fixture
def place() -> Iterator[Path]:
    """Paths of sockets may not be long."""
    with tempfile.TemporaryDirectory(prefix="kms-") as directory:
        yield Path(directory)


@pytest.fixture
async def service(place: Path) -> AsyncIterator[KeyService]:
    async with key_service(place / "s") as running_service:
        yield running_service


@pytest.fixture
async def inner() -> MemoryStore:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    return store


@contextlib.asynccontextmanager
async def cluster(inner: MemoryStore, file: Path, *, reload: bool = False) -> AsyncIterator[Caller]:
    store = EncryptedStore(inner, read_encryption_configuration(file), reload=reload)
    await store.open()
    async with running(store=store) as api:
        yield api


async def pass_a_round(inner: MemoryStore, seconds: float = 61.0) -> None:
    """Time for the store to ask its services once more, and to have heard of it."""
    assert isinstance(inner.clock, FakeClock)
    await inner.clock.advance(seconds)


async def raw(store: MemoryStore, key: str = KEY) -> bytes:
    entry = await store.get(key)
    assert entry is not None
    return entry.value


async def test_a_secret_is_sealed_as_upstream_seals_it(place: Path, inner: MemoryStore, service: KeyService) -> None:
    async with cluster(inner, configuration(place, kms(place / "s"))) as api:
        await api.post(SECRETS, SECRET)
        assert (await api.get(f"{SECRETS}/db"))["data"] == {"password": PLAIN}
        sealed = await raw(inner)
        assert sealed.startswith(PREFIX)
        stored = message("EncryptedObject").FromString(sealed.removeprefix(PREFIX))
        assert (stored.keyID, stored.encryptedDEKSourceType) == ("key-1", SEED)
        seed = bytes(stored.encryptedDEKSource).removeprefix(b"key-1|")[::-1]
        info, nonce, rest = (bytes(stored.encryptedData)[each] for each in (slice(32), slice(32, 44), slice(44, None)))
        key = HKDFExpand(SHA256(), 32, info).derive(seed)
        assert PLAIN.encode() in AESGCM(key).decrypt(nonce, rest, KEY.encode())
    assert service.calls == ["Status", "Encrypt"]


async def test_another_server_has_the_seed_opened_once(place: Path, inner: MemoryStore, service: KeyService) -> None:
    file = configuration(place, kms(place / "s"))
    async with cluster(inner, file) as api:
        for name in ("db", "other"):
            await api.post(SECRETS, {**SECRET, "metadata": {"name": name}})
    await inner.open()
    service.calls.clear()
    async with cluster(inner, file) as api:
        assert len((await api.get(SECRETS))["items"]) == 2
    assert service.calls.count("Decrypt") == 1


async def test_another_key_seals_new_values_and_old_ones_when_they_are_written_again(
    place: Path, inner: MemoryStore, service: KeyService
) -> None:
    async with cluster(inner, configuration(place, kms(place / "s"))) as api:
        await api.post(SECRETS, SECRET)
        service.key_id = "key-2"
        await pass_a_round(inner)
        await api.post(SECRETS, {**SECRET, "metadata": {"name": "new"}})
        assert b"key-2|" in await raw(inner, KEY.replace("db", "new"))
        assert b"key-1|" in await raw(inner)
        await api.put(f"{SECRETS}/db", await api.get(f"{SECRETS}/db"))
        assert b"key-2|" in await raw(inner)


async def test_a_service_that_is_away_lets_sealing_go_on_for_three_minutes(
    place: Path, inner: MemoryStore, service: KeyService
) -> None:
    async with cluster(inner, configuration(place, kms(place / "s"))) as api:
        assert (await api.ask("GET", "/readyz/kms-providers")).status == 200
        service.broken = True
        await pass_a_round(inner)
        said = ((await api.ask("GET", "/readyz/kms-providers")).body or b"").decode()
        assert "healthz check for KMS Provider mine, error: UNAVAILABLE: out of order" in said
        await api.post(SECRETS, SECRET)
        await pass_a_round(inner, 180)
        assert (await api.ask("POST", SECRETS, {"metadata": {"name": "late"}})).status == 500
        assert (await api.get(f"{SECRETS}/db"))["data"] == {"password": PLAIN}
        service.broken = False
        await pass_a_round(inner, 11)
        await api.post(SECRETS, {"metadata": {"name": "late"}})
        assert (await api.ask("GET", "/readyz/kms-providers")).status == 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"health": "no"}, "got unexpected healthz status: no"),
        ({"version": "v3"}, "expected KMSv2 API version v2, got v3"),
        ({"key_id": ""}, "keyID is empty"),
        ({"key_id": "k" * 2000}, "keyID is 2000 bytes, which exceeds the max size of 1024"),
        ({"used": "key-9"}, "failed to rotate DEK"),
        ({"broken": True}, "UNAVAILABLE: out of order"),
    ],
)
async def test_a_service_that_is_not_well_keeps_the_store_closed(
    place: Path, inner: MemoryStore, service: KeyService, fields: dict[str, Any], said: str
) -> None:
    for name, value in fields.items():
        setattr(service, name, value)
    store = EncryptedStore(inner, read_encryption_configuration(configuration(place, kms(place / "s"))))
    assert isinstance(inner.clock, FakeClock)
    opening = asyncio.create_task(store.open())
    while not opening.done():
        await inner.clock.advance(1.0)
        await asyncio.sleep(0)
    with pytest.raises(StoreError, match=said):
        await opening
    await store.close()


async def test_a_value_whose_key_nobody_opens_is_an_error_that_names_it(
    place: Path, inner: MemoryStore, service: KeyService
) -> None:
    file = configuration(place, kms(place / "s"))
    async with cluster(inner, file) as api:
        await api.post(SECRETS, SECRET)
    await inner.open()
    sealed = await raw(inner)
    await inner.transact(Transaction((), [Put(KEY, sealed.replace(b"key-1|", b"key-0|"))]))
    store = EncryptedStore(inner, read_encryption_configuration(file))
    await store.open()
    with pytest.raises(StoreCorrupt, match="default/db cannot be decrypted: kms provider mine has not opened its key"):
        await store.get(KEY)
    await store.close()


async def test_a_configuration_that_changes_is_followed(place: Path, inner: MemoryStore, service: KeyService) -> None:
    secret = base64.b64encode(b"k" * 32).decode()
    aesgcm = f"aesgcm: {{keys: [{{name: one, secret: {secret}}}]}}"
    async with cluster(inner, configuration(place, aesgcm), reload=True) as api:
        await api.post(SECRETS, SECRET)
        assert (await raw(inner)).startswith(b"k8s:enc:aesgcm:v1:one:")
        configuration(place, "kms: {}")
        await pass_a_round(inner)  # a mistake is told to the log, and what there was goes on
        await api.post(SECRETS, {"metadata": {"name": "still"}})
        assert (await raw(inner, KEY.replace("db", "still"))).startswith(b"k8s:enc:aesgcm:v1:one:")
        configuration(place, kms(place / "s"), aesgcm)
        await pass_a_round(inner)
        await api.put(f"{SECRETS}/db", await api.get(f"{SECRETS}/db"))
        assert (await raw(inner)).startswith(PREFIX)
        assert (await api.get(f"{SECRETS}/db"))["data"] == {"password": PLAIN}


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("kms: {name: a, endpoint: 'unix:///s'}", r'kms\.apiVersion: "v1" is not supported'),
        ("kms: {apiVersion: v2, endpoint: 'unix:///s'}", r"kms\.name: required"),
        (
            "kms: {apiVersion: v2, name: 'a:b', endpoint: 'unix:///s'}",
            r"kms\.name: must not be empty, nor hold a colon",
        ),
        ("kms: {apiVersion: v2, name: a}", r"kms\.endpoint: required"),
        ("kms: {apiVersion: v2, name: a, endpoint: 'tcp://1.2.3.4'}", r"kms\.endpoint: must be unix:///path"),
        ("kms: {apiVersion: v2, name: a, endpoint: 'unix:///s', timeout: 0s}", r"kms\.timeout: must be positive"),
        ("kms: {apiVersion: v2, name: a, endpoint: 'unix:///s', cachesize: 3}", r"kms\.cachesize: is not for v2"),
    ],
)
def test_a_mistake_is_told_with_its_place(place: Path, provider: str, said: str) -> None:
    with pytest.raises(ConfigFileError, match=rf"resources\[0\]\.providers\[0\]\.{said}"):
        read_encryption_configuration(configuration(place, provider))


def test_two_services_have_two_names(place: Path) -> None:
    with pytest.raises(ConfigFileError, match='two kms providers have the name "mine"'):
        read_encryption_configuration(configuration(place, kms(place / "a"), kms(place / "b")))
