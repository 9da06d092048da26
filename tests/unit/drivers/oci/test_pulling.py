"""Images are pulled from registries as these ask for it, and nothing is taken that is not what it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes.images import entry, make_image, make_layer, serving
from kube_core.abc.runtime import ImageFailure, RegistryCredentials
from kube_drivers.runtime.oci.images.pulling import pull
from kube_drivers.runtime.oci.images.references import parse_name
from kube_drivers.runtime.oci.images.registries import Registries
from kube_drivers.runtime.oci.images.store import ImageStore, machine_platform

pytestmark = pytest.mark.anyio

LAYERS = (make_layer(entry("etc"), entry("etc/name", b"base")), make_layer(entry("etc/name", b"upper")))
IMAGE = make_image(*LAYERS, Cmd=["/run"])


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


async def test_an_image_is_pulled_by_tag_and_by_digest(store: ImageStore) -> None:
    async with serving() as registry:
        digest = registry.put("team/app", "1", IMAGE)
        await pull(store, parse_name(f"{registry.host}/team/app:1"), Registries())
        await pull(store, parse_name(f"{registry.host}/team/app@{digest}"), Registries())
        image = store.find(f"{registry.host}/team/app@{digest}")
        assert image == store.find(f"{registry.host}/team/app:1")
        assert image is not None
        assert image.config.command == ("/run",)
        assert image.size == len(IMAGE.config) + sum(map(len, IMAGE.layers))
        assert (store.layers_directory / store.lowers(image)[0] / "etc/name").read_bytes() == b"upper"


async def test_layers_that_are_here_are_not_fetched_again(store: ImageStore) -> None:
    async with serving() as registry:
        registry.put("base", "1", make_image(LAYERS[0]))
        registry.put("app", "1", IMAGE)
        await pull(store, parse_name(f"{registry.host}/base:1"), Registries())
        registry.asked.clear()
        await pull(store, parse_name(f"{registry.host}/app:1"), Registries())
        assert len([path for path in registry.asked if "/blobs/" in path]) == 2  # a configuration and a layer
        registry.asked.clear()
        await pull(store, parse_name(f"{registry.host}/app:1"), Registries())
        assert registry.asked == ["/v2/app/manifests/1"]


async def test_of_an_index_the_image_for_this_machine_is_taken(store: ImageStore) -> None:
    async with serving() as registry:
        other = make_image(LAYERS[0], platform="linux/pdp11")
        digest = registry.put_index("app", "1", {"linux/pdp11": other, machine_platform(): IMAGE})
        await pull(store, parse_name(f"{registry.host}/app:1"), Registries())
        image = store.find(f"{registry.host}/app@{digest}")
        assert image is not None
        assert image.config.command == ("/run",)
        registry.put_index("alien", "1", {"linux/pdp11": other})
        with pytest.raises(ImageFailure, match=r"no match for platform in manifest: .* is for linux/pdp11"):
            await pull(store, parse_name(f"{registry.host}/alien:1"), Registries())


@pytest.mark.parametrize("bearer", [False, True])
async def test_who_has_the_password_gets_the_image(store: ImageStore, bearer: bool) -> None:
    async with serving(username="me", password="secret", bearer=bearer) as registry:
        registry.put("app", "1", IMAGE)
        name = parse_name(f"{registry.host}/app:1")
        with pytest.raises(ImageFailure, match="pull access denied"):
            await pull(store, name, Registries())
        with pytest.raises(ImageFailure, match="authorization failed"):
            await pull(store, name, Registries(), RegistryCredentials("me", "wrong"))
        await pull(store, name, Registries(), RegistryCredentials("me", "secret"))
        configured: dict[str, Any] = {registry.host: {"username": "me", "password": "secret"}}
        await pull(store, name, Registries.parse({"registries": configured}, "test"))


async def test_mirrors_are_asked_first_and_stand_in_for_each_other(store: ImageStore) -> None:
    async with serving() as empty, serving() as mirror:
        mirror.put("library/app", "1", IMAGE)
        mirrors = {"docker.io": {"mirrors": [empty.url, mirror.url]}}
        await pull(store, parse_name("app:1"), Registries.parse({"registries": mirrors}, "test"))
        assert store.find("app:1") is not None
        assert empty.asked == ["/v2/library/app/manifests/1"]


async def test_what_cannot_be_had_says_why(store: ImageStore, tmp_path: Path) -> None:
    async with serving() as registry:
        name = f"{registry.host}/missing:1"
        with pytest.raises(ImageFailure, match=f'failed to resolve reference "{name}": {name}: not found'):
            await pull(store, parse_name(name), Registries())
        host = registry.host
    with pytest.raises(ImageFailure, match="failed to resolve reference"):
        await pull(store, parse_name(f"{host}/app:1"), Registries())
    offline = Registries.parse({"registries": {"*": {"offline": True}}}, "test")
    with pytest.raises(ImageFailure, match="said to be offline"):
        await pull(store, parse_name("app:1"), offline)


async def test_a_damaged_blob_is_refused(store: ImageStore) -> None:
    async with serving() as registry:
        registry.put("app", "1", IMAGE)
        damaged = next(digest for digest, blob in registry.blobs.items() if blob == IMAGE.layers[1])
        whole = registry.blobs[damaged]
        registry.blobs[damaged] = whole[:-1] + bytes([whole[-1] ^ 1])
        with pytest.raises(ImageFailure, match=f"{damaged} is damaged"):
            await pull(store, parse_name(f"{registry.host}/app:1"), Registries())
        assert store.images() == []


async def test_a_pull_that_was_broken_off_goes_on_where_it_was(store: ImageStore) -> None:
    async with serving() as registry:
        registry.put("app", "1", IMAGE)
        broken = next(digest for digest, blob in registry.blobs.items() if blob == IMAGE.layers[1])
        registry.broken[broken] = 20
        with pytest.raises(ImageFailure):
            await pull(store, parse_name(f"{registry.host}/app:1"), Registries())
        assert store.images() == []
        registry.broken.clear()
        registry.asked.clear()
        await pull(store, parse_name(f"{registry.host}/app:1"), Registries())
        assert [path for path in registry.asked if "/blobs/" in path] == [f"/v2/app/blobs/{broken}"]


def test_the_file_of_registries_is_read(tmp_path: Path) -> None:
    (tmp_path / "registries.yaml").write_text("registries:\n  docker.io:\n    mirrors: [http://127.0.0.1:5000/]\n")
    registries = Registries.read(tmp_path)
    assert registries.endpoints("docker.io") == ["http://127.0.0.1:5000", "https://registry-1.docker.io"]
    assert registries.endpoints("localhost:5000") == ["http://localhost:5000"]
    assert Registries.read(tmp_path / "none").endpoints("quay.io") == ["https://quay.io"]
    (tmp_path / "registries.yaml").write_text("registries:\n  docker.io:\n    mirror: x\n")
    with pytest.raises(ImageFailure, match="not as it should be"):
        Registries.read(tmp_path)
