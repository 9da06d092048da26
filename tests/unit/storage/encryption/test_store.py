"""Secrets in the store: sealed on the disk, plain above, and sealed anew when keys change."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from fakes.server import running
from kube_core._kit.clock import FakeClock, SystemClock
from kube_core.abc.store import StoreCorrupt
from kube_core.storage.encryption import EncryptedStore, read_encryption_configuration
from kube_drivers.store.memory import MemoryStore
from kube_drivers.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

SECRETS = "/api/v1/namespaces/default/secrets"
KEY = "/registry/core/secrets/default/db"
SECRET = {"metadata": {"name": "db"}, "stringData": {"password": "correct-horse-battery"}}
MAPS = "/api/v1/namespaces/default/configmaps"
CONFIG_MAP = {"metadata": {"name": "c"}, "data": {"a": "plain-text"}}
PLAIN = base64.b64encode(b"correct-horse-battery")


def configuration(path: Path, *providers: str) -> Path:
    file = path / "encryption.yaml"
    lines = "".join(f"  - {provider}\n" for provider in providers)
    file.write_text(
        "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n"
        f"resources:\n- resources: [secrets]\n  providers:\n{lines}"
    )
    return file


def provider(kind: str, *names: str) -> str:
    keys = ", ".join(f"{{name: {name}, secret: {base64.b64encode(name[0].encode() * 32).decode()}}}" for name in names)
    return f"{kind}: {{keys: [{keys}]}}"


async def opened(inner: MemoryStore | SqliteStore, file: Path) -> EncryptedStore:
    return EncryptedStore(inner, read_encryption_configuration(file))


async def raw(store: MemoryStore, key: str = KEY) -> bytes:
    entry = await store.get(key)
    assert entry is not None
    return entry.value


def files(directory: Path) -> bytes:
    """Everything that SQLite has written: its file, and the log beside it."""
    return b"".join(file.read_bytes() for file in directory.iterdir() if file.name.startswith("state.db"))


@pytest.fixture
async def inner() -> MemoryStore:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    return store


@pytest.mark.parametrize("kind", ["aescbc", "aesgcm", "secretbox"])
async def test_a_secret_is_sealed_in_the_store_and_plain_to_clients(
    inner: MemoryStore, tmp_path: Path, kind: str
) -> None:
    async with running(store=await opened(inner, configuration(tmp_path, provider(kind, "one")))) as api:
        await api.post(SECRETS, SECRET)
        await api.post(MAPS, CONFIG_MAP)
        assert (await api.get(f"{SECRETS}/db"))["data"] == {"password": PLAIN.decode()}
        assert (await api.get(SECRETS))["items"][0]["data"] == {"password": PLAIN.decode()}
        sealed = await raw(inner)
        assert sealed.startswith(f"k8s:enc:{kind}:v1:one:".encode())
        assert PLAIN not in sealed
        assert b"plain-text" in await raw(inner, "/registry/core/configmaps/default/c")


async def test_the_file_of_sqlite_holds_no_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(clock=SystemClock(), url=f"sqlite://{path}")
    await store.open()
    async with running(store=await opened(store, configuration(tmp_path, provider("aesgcm", "one")))) as api:
        await api.post(SECRETS, SECRET)
        await api.patch(f"{SECRETS}/db", {"metadata": {"labels": {"changed": "yes"}}})
        await api.post(MAPS, CONFIG_MAP)
        written = files(tmp_path)
        assert b"plain-text" in written
        assert PLAIN not in written


async def test_after_a_rotation_a_write_that_changes_nothing_seals_anew(inner: MemoryStore, tmp_path: Path) -> None:
    async with running(store=await opened(inner, configuration(tmp_path, provider("aesgcm", "one")))) as api:
        await api.post(SECRETS, SECRET)
    await inner.open()
    rotated = configuration(tmp_path, provider("aesgcm", "two", "one"))
    async with running(store=await opened(inner, rotated)) as api:
        before = await api.get(f"{SECRETS}/db")
        assert b":one:" in await raw(inner)
        after = await api.put(f"{SECRETS}/db", before)
        assert b":two:" in await raw(inner)
        assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        again = await api.put(f"{SECRETS}/db", after)
        assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_what_was_written_plain_is_sealed_when_it_is_next_written(inner: MemoryStore, tmp_path: Path) -> None:
    async with running(store=inner) as api:
        await api.post(SECRETS, SECRET)
    await inner.open()
    file = configuration(tmp_path, provider("aescbc", "one"), "identity: {}")
    async with running(store=await opened(inner, file)) as api:
        before = await api.get(f"{SECRETS}/db")
        assert PLAIN in await raw(inner)
        await api.put(f"{SECRETS}/db", before)
        assert PLAIN not in await raw(inner)


@pytest.mark.parametrize(
    ("providers", "wanted"),
    [
        ([provider("aesgcm", "two")], "no provider or key"),
        (["identity: {}"], "no provider or key"),
        (["aesgcm: {keys: [{name: one, secret: " + base64.b64encode(b"x" * 32).decode() + "}]}"], "key does not fit"),
    ],
)
async def test_with_the_wrong_key_a_server_does_not_start(
    inner: MemoryStore, tmp_path: Path, providers: list[str], wanted: str
) -> None:
    async with running(store=await opened(inner, configuration(tmp_path, provider("aesgcm", "one")))) as api:
        await api.post(SECRETS, SECRET)
    await inner.open()
    file = configuration(tmp_path, *providers)
    with pytest.raises(StoreCorrupt, match=f"{KEY} cannot be decrypted: .*{wanted}.*encryption.yaml"):
        async with running(store=await opened(inner, file)):
            pass


async def test_plain_secrets_without_an_identity_provider_are_refused(inner: MemoryStore, tmp_path: Path) -> None:
    async with running(store=inner) as api:
        await api.post(SECRETS, SECRET)
    await inner.open()
    with pytest.raises(StoreCorrupt, match="is not encrypted, and no identity provider"):
        async with running(store=await opened(inner, configuration(tmp_path, provider("aesgcm", "one")))):
            pass
