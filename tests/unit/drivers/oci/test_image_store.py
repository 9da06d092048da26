"""The image store is whole whatever happens, and gives place back that nobody needs."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.images import entry, make_image, make_layer
from kube_core.abc.runtime import ImageFailure
from kube_drivers.runtime.oci.images import blobs
from kube_drivers.runtime.oci.images.archives import Recipe, build_image, load_archive
from kube_drivers.runtime.oci.images.references import parse_name
from kube_drivers.runtime.oci.images.store import ImageStore

BASE = make_layer(entry("etc"), entry("etc/name", b"base"))
UPPER = make_layer(entry("etc/name", b"upper"))


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def layers_of(store: ImageStore) -> set[str]:
    return {path.name for path in store.layers_directory.iterdir() if path.is_dir()}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("team/app:1.2", "docker.io/team/app:1.2"),
        ("localhost/app", "localhost/app:latest"),
        ("registry.example:5000/a/b_c:v1", "registry.example:5000/a/b_c:v1"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        (f"app:1@sha256:{'a' * 64}", f"docker.io/library/app@sha256:{'a' * 64}"),
    ],
)
def test_names_have_a_normal_form(text: str, name: str) -> None:
    assert str(parse_name(text)) == name
    assert parse_name(name).bare == name.partition("@")[0].rpartition(":")[0] or "@" in name


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "app:", "app@sha256:short", "/app", "a//b", "x" * 300])
def test_what_is_no_name_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ImageFailure, match="invalid reference format") as raised:
        parse_name(text)
    assert raised.value.reason == "InvalidImageName"


def test_an_archive_of_docker_save_is_loaded(store: ImageStore, tmp_path: Path) -> None:
    image = make_image(BASE, UPPER, Entrypoint=["/run"], Env=["A=1"], User="web", StopSignal="SIGQUIT")
    names = load_archive(store, image.save_docker(tmp_path / "image.tar", "app:1", "app:latest"))
    assert names == ["docker.io/library/app:1", "docker.io/library/app:latest"]
    found = store.find("app:1")
    assert found is not None
    assert (found.config.entrypoint, found.config.env, found.config.user) == (("/run",), ("A=1",), "web")
    assert found.config.stop_signal == "SIGQUIT"
    upper, lower = (store.layers_directory / name for name in store.lowers(found))
    assert ((upper / "etc/name").read_bytes(), (lower / "etc/name").read_bytes()) == (b"upper", b"base")


@pytest.mark.parametrize("packed", [False, True])
def test_an_oci_layout_is_loaded(store: ImageStore, tmp_path: Path, packed: bool) -> None:
    layout = make_image(BASE).save_layout(tmp_path / "layout", "registry.example/app:2")
    if packed:
        with tarfile.open(tmp_path / "layout.tar.gz", "w:gz") as tar:
            tar.add(layout, arcname=".")
        layout = tmp_path / "layout.tar.gz"
    assert load_archive(store, layout) == ["registry.example/app:2"]
    assert load_archive(store, layout, name="mine") == ["docker.io/library/mine:latest"]
    (image,) = store.images()
    assert image.names == ("docker.io/library/mine:latest", "registry.example/app:2")
    assert store.find(image.id) == store.find(image.id[7:20]) == store.find("mine") == image


def test_an_image_for_another_machine_is_refused(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(ImageFailure, match=r"no match for platform in manifest: .* is for linux/pdp11, and"):
        load_archive(store, make_image(BASE, platform="linux/pdp11").save_docker(tmp_path / "image.tar", "app"))
    assert store.images() == []


@pytest.mark.parametrize("what", ["cut", "layer", "nothing"])
def test_a_damaged_archive_is_refused_and_leaves_nothing_behind(store: ImageStore, tmp_path: Path, what: str) -> None:
    path = make_image(BASE).save_docker(tmp_path / "image.tar", "app")
    content = path.read_bytes()
    if what == "cut":
        path.write_bytes(content[: len(content) // 3])
    elif what == "layer":
        path.write_bytes(content.replace(b"base", b"bass"))
    else:
        path.write_bytes(b"")
    with pytest.raises(ImageFailure):
        load_archive(store, path)
    assert store.images() == []
    assert layers_of(store) == set() if store.layers_directory.exists() else True


def test_a_folder_becomes_an_image_also_on_another_one(store: ImageStore, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "app").mkdir(parents=True)
    (root / "app/run").write_text("x")
    build_image(store, Recipe(root, "mine:1", entrypoint=("/app/run",), env=("A=1",), working_dir="/app", user="5"))
    (root / "app/run").write_text("y")
    build_image(store, Recipe(root, "mine:2", command=("--flag",), base="mine:1"))
    first, second = store.find("mine:1"), store.find("mine:2")
    assert first is not None
    assert second is not None
    assert (first.config.entrypoint, first.config.working_dir, first.config.user) == (("/app/run",), "/app", "5")
    assert (second.config.entrypoint, second.config.command) == (("/app/run",), ("--flag",))
    assert second.config.diff_ids[:1] == first.config.diff_ids
    assert len(layers_of(store)) == 2


def test_an_image_is_found_again_by_another_process(store: ImageStore, tmp_path: Path) -> None:
    load_archive(store, make_image(BASE).save_docker(tmp_path / "image.tar", "app"))
    other = ImageStore(store.directory)
    assert other.images() == store.images()
    load_archive(other, make_image(BASE, UPPER).save_docker(tmp_path / "image.tar", "app"))
    assert store.images() == other.images()


def test_removing_the_last_name_frees_what_nobody_else_needs(store: ImageStore, tmp_path: Path) -> None:
    load_archive(store, make_image(BASE).save_docker(tmp_path / "base.tar", "base"))
    load_archive(store, make_image(BASE, UPPER).save_docker(tmp_path / "upper.tar", "upper"))
    before, used = layers_of(store), store.usage().used
    upper, base = store.find("upper"), store.find("base")
    assert upper is not None
    assert base is not None
    store.remove(upper)
    assert len(before - layers_of(store)) == 1
    assert store.usage().used < used
    store.remove(base)
    assert layers_of(store) == set()
    assert list(store.directory.glob("blobs/sha256/*")) == []


def test_an_image_that_a_container_uses_stays(store: ImageStore, tmp_path: Path) -> None:
    load_archive(store, make_image(BASE).save_docker(tmp_path / "base.tar", "base"))
    image = store.find("base")
    assert image is not None
    owner = tmp_path / "container"
    owner.mkdir()
    store.hold(owner, [image])
    with pytest.raises(ImageFailure, match="in use by a container"):
        store.remove(image)
    # Its name may come to mean another image; the layers stay all the same.
    load_archive(store, make_image(UPPER).save_docker(tmp_path / "base.tar", "base"))
    store.collect()
    assert all((store.layers_directory / name).is_dir() for name in store.lowers(image))
    owner.rmdir()
    store.collect()
    assert not any((store.layers_directory / name).is_dir() for name in store.lowers(image))


def test_what_others_are_adding_is_neither_swept_nor_collected(store: ImageStore) -> None:
    with store.adding() as adding:
        config = adding.blobs.add(b"{}")
        other = ImageStore(store.directory)
        other.open()
        assert adding.aside.is_dir()
        assert not other.collect()
        assert adding.blobs.has(config)
    assert other.collect()
    assert not adding.blobs.has(config)


class PowerLoss(BaseException):
    """Nothing after this moment happens, not even cleaning up."""


@pytest.mark.parametrize("moment", range(1, 20))
def test_power_lost_at_any_step_of_a_load_leaves_a_store_that_can_go_on(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    load_archive(store, make_image(BASE).save_docker(tmp_path / "old.tar", "old"))
    archive = make_image(BASE, UPPER).save_docker(tmp_path / "new.tar", "old", "new")
    steps = 0

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == moment:
                raise PowerLoss
            return call(*args)

        return counted

    with monkeypatch.context() as patched:
        # The calls by which something becomes lasting.
        for name in ("fsync", "replace", "rename"):
            patched.setattr(os, name, counting(getattr(os, name)))
        # What is cleaned up on the way out would not be, without power.
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        try:
            load_archive(store, archive)
        except PowerLoss:
            pass
        else:
            assert moment > steps
    after = ImageStore(store.directory)
    after.open()
    assert list((store.directory / "staging").iterdir()) == []
    old = after.find("old")
    assert old is not None
    for image in after.images():
        assert all((store.layers_directory / name).is_dir() for name in after.lowers(image))
        assert after.manifest(image)["config"]["digest"] == image.id
    load_archive(after, archive)
    assert after.find("new") == after.find("old")
    assert after.collect()
    assert len(layers_of(after)) == 2


def test_a_full_disk_is_said_and_loses_nothing(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_archive(store, make_image(BASE).save_docker(tmp_path / "old.tar", "old"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(blobs.BlobWriter, "write", full)
        with pytest.raises(ImageFailure, match="disk of the image store is full"):
            load_archive(store, make_image(UPPER).save_docker(tmp_path / "new.tar", "new"))
    assert [image.names for image in store.images()] == [("docker.io/library/old:latest",)]
    assert list((store.directory / "staging").iterdir()) == []
    load_archive(store, make_image(UPPER).save_docker(tmp_path / "new.tar", "new"))
