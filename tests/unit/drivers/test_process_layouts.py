"""Images of the process runtime that are OCI layouts."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from fakes.images import entry, make_image, make_layer
from kube_core.abc.runtime import ImageFailure
from kube_drivers.runtime.process import Images
from kube_drivers.runtime.process.layouts import read_layout, unpack

SCRIPT = b"#!/bin/sh\necho hello\n"


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def unpacked(folder: Path, *layers: bytes) -> Path:
    layout = make_image(*layers).save_layout(folder / "layout", "app:1")
    unpack(read_layout(layout), folder / "root")
    return folder / "root"


def test_layers_are_put_on_each_other(tmp_path: Path) -> None:
    lower = make_layer(
        entry("a"), entry("a/gone", b"1"), entry("a/stays", b"2"), entry("b"), entry("b/old", b"3"), entry("c", b"4")
    )
    upper = make_layer(entry("a/.wh.gone", b""), entry("b/new", b"5"), entry("b/.wh..wh..opq", b""), entry("c"))
    root = unpacked(tmp_path, lower, upper)
    assert sorted(os.listdir(root / "a")) == ["stays"]
    assert os.listdir(root / "b") == ["new"]
    assert (root / "c").is_dir()


def test_an_absolute_link_stays_in_the_image(tmp_path: Path) -> None:
    root = unpacked(tmp_path, make_layer(entry("bin"), entry("bin/tool", SCRIPT), link("bin/sh", "/bin/tool")))
    assert (root / "bin/sh").read_bytes() == SCRIPT
    assert not os.readlink(root / "bin/sh").startswith("/")


@pytest.mark.parametrize("name", ["out/file", "out/.wh.precious"])
def test_no_layer_touches_what_is_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").write_text("here")
    with pytest.raises(ImageFailure):
        unpacked(tmp_path, make_layer(link("out", "../"), entry(name, b"")))
    assert (tmp_path / "precious").read_text() == "here"
    assert not (tmp_path / "root").exists()
    assert not (tmp_path / "file").exists()


def test_a_damaged_layer_is_refused(tmp_path: Path) -> None:
    layout = make_image(make_layer(entry("file", b"content"))).save_layout(tmp_path / "layout", "app:1")
    found = read_layout(layout)
    found.layers[0].write_bytes(b"something else")
    with pytest.raises(ImageFailure, match="damaged"):
        unpack(found, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_layout_is_found_by_the_name_that_it_says_or_that_it_has(tmp_path: Path) -> None:
    image = make_image(make_layer(entry("app"), entry("app/run", SCRIPT)), Entrypoint=["/app/run"], WorkingDir="/app")
    for folder, layout in {
        tmp_path / "said": tmp_path / "said", tmp_path / "found": tmp_path / "found" / "app" / "1"
    }.items():  # fmt: skip
        image.save_layout(layout, "docker.io/library/app:1")
        images = Images.from_folders([folder], tmp_path / "unpacked")
        resolved = images.resolve("app:1")
        assert resolved.layout is not None
        if folder.name == "said":
            assert not resolved.ready
            unpack(resolved.layout, Path(resolved.directory))
        assert resolved.ready
        assert resolved.argv((), ("now",)) == [f"{resolved.directory}/app/run", "now"]
        assert resolved.argv(("/bin/sh",), ()) == ["/bin/sh"]
        assert resolved.working_dir == f"{resolved.directory}/app"
