"""Layers become lower directories of overlayfs, and nothing that an archive says gets out of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from fakes.images import entry, make_layer
from kube_core.abc.runtime import ImageFailure
from kube_drivers.runtime.oci.images.layers import unpack_layer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


def unpack(root: Path, layer: bytes, *lowers: Path) -> Path:
    root.mkdir()
    unpack_layer(io.BytesIO(layer), f"sha256:{hashlib.sha256(layer).hexdigest()}", root, lowers)
    return root


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


@needs_root
def test_files_have_content_owner_mode_time_and_attributes(tmp_path: Path) -> None:
    info, content = entry("bin/tool", b"#!", mode=0o4755, uid=7, gid=8, mtime=1_000_000)
    info.pax_headers = {"SCHILY.xattr.user.colour": "green", "SCHILY.xattr.trusted.overlay.opaque": "y"}
    root = unpack(tmp_path / "layer", make_layer(entry("bin", mode=0o750, uid=3), (info, content)))
    there = (root / "bin/tool").stat()
    assert (there.st_uid, there.st_gid, stat.S_IMODE(there.st_mode), there.st_mtime) == (7, 8, 0o4755, 1_000_000)
    assert os.getxattr(root / "bin/tool", "user.colour") == b"green"
    assert "trusted.overlay.opaque" not in os.listxattr(root / "bin/tool")
    assert ((root / "bin").stat().st_uid, stat.S_IMODE((root / "bin").stat().st_mode)) == (3, 0o750)


def test_hard_links_are_one_file_and_symbolic_links_stay_as_they_are(tmp_path: Path) -> None:
    layer = make_layer(entry("a", b"1"), entry("b", type=tarfile.LNKTYPE, linkname="/a"), link("c", "/etc/passwd"))
    root = unpack(tmp_path / "layer", layer)
    assert (root / "a").stat().st_ino == (root / "b").stat().st_ino
    assert os.readlink(root / "c") == "/etc/passwd"


@pytest.mark.parametrize("name", ["../out", "a/../../out", "./../out", "/../out"])
def test_an_entry_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageFailure, match="leads out"):
        unpack(tmp_path / "layer", make_layer(entry(name, b"x")))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["/", "..", "../../..", "/tmp"])
def test_links_are_followed_within_the_image_alone(tmp_path: Path, target: str) -> None:
    name = f"escaped-{os.getpid()}"
    root = unpack(tmp_path / "layer", make_layer(link("door", target), entry(f"door/{name}", b"x")))
    assert not Path("/", name).exists()
    assert not Path("/tmp", name).exists()
    assert not (tmp_path / name).exists()
    assert [path.read_bytes() for path in root.rglob(name)] == [b"x"]


def test_a_hard_link_does_not_leave_the_image_by_a_symbolic_one(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    layer = make_layer(link("door", str(tmp_path)), entry("stolen", type=tarfile.LNKTYPE, linkname="door/secret"))
    with pytest.raises(ImageFailure, match="not there"):
        unpack(tmp_path / "layer", layer)


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageFailure, match="in circles"):
        unpack(tmp_path / "layer", make_layer(link("a", "b"), link("b", "a"), entry("a/file", b"x")))


@needs_root
def test_a_directory_that_only_a_lower_layer_describes_keeps_its_owner_and_mode(tmp_path: Path) -> None:
    lower = unpack(tmp_path / "lower", make_layer(entry("home"), entry("home/web", mode=0o700, uid=1000, gid=1001)))
    upper = unpack(tmp_path / "upper", make_layer(entry("home/web/file", b"x")), lower)
    there = (upper / "home/web").stat()
    assert (there.st_uid, there.st_gid, stat.S_IMODE(there.st_mode)) == (1000, 1001, 0o700)


def test_a_parent_that_is_a_link_in_a_lower_layer_is_followed(tmp_path: Path) -> None:
    lower = unpack(tmp_path / "lower", make_layer(entry("usr"), entry("usr/lib"), link("lib", "usr/lib")))
    upper = unpack(tmp_path / "upper", make_layer(entry("lib/library.so", b"x")), lower)
    assert (upper / "usr/lib/library.so").read_bytes() == b"x"
    assert not (upper / "lib").exists()


def test_a_hard_link_to_a_lower_layers_file_brings_it_up(tmp_path: Path) -> None:
    lower = unpack(tmp_path / "lower", make_layer(entry("a", b"1", mode=0o711)))
    upper = unpack(tmp_path / "upper", make_layer(entry("b", type=tarfile.LNKTYPE, linkname="a")), lower)
    assert (upper / "b").read_bytes() == b"1"
    assert stat.S_IMODE((upper / "a").stat().st_mode) == 0o711


@needs_root
def test_whiteouts_and_opaque_directories_become_those_of_overlayfs(tmp_path: Path) -> None:
    layer = make_layer(entry("etc"), entry("etc/.wh.gone", b""), entry("var"), entry("var/.wh..wh..opq", b""))
    root = unpack(tmp_path / "layer", layer)
    there = (root / "etc/gone").lstat()
    assert stat.S_ISCHR(there.st_mode)
    assert there.st_rdev == 0
    assert os.getxattr(root / "var", "trusted.overlay.opaque") == b"y"


@needs_root
@pytest.mark.parametrize("first", ["whiteout", "folder"])
def test_what_is_removed_and_made_again_in_one_layer_hides_what_was_there(tmp_path: Path, first: str) -> None:
    whiteout, folder = entry(".wh.data", b""), entry("data")
    layer = make_layer(*((whiteout, folder) if first == "whiteout" else (folder, whiteout)), entry("data/new", b""))
    root = unpack(tmp_path / "layer", layer)
    assert os.getxattr(root / "data", "trusted.overlay.opaque") == b"y"
    assert (root / "data/new").exists()


@needs_root
def test_nothing_is_inherited_through_a_whiteout(tmp_path: Path) -> None:
    lowest = unpack(tmp_path / "1", make_layer(entry("data", mode=0o700)))
    middle = unpack(tmp_path / "2", make_layer(entry(".wh.data", b"")), lowest)
    upper = unpack(tmp_path / "3", make_layer(entry("data/file", b"")), middle, lowest)
    assert stat.S_IMODE((upper / "data").stat().st_mode) == 0o755


def test_a_later_entry_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    layer = make_layer(entry("a"), entry("a/b", b"1"), entry("a", b"file"), entry("c", b"1"), entry("c"))
    root = unpack(tmp_path / "layer", layer)
    assert (root / "a").read_bytes() == b"file"
    assert (root / "c").is_dir()


def test_compressed_layers_are_recognised(tmp_path: Path) -> None:
    layer = make_layer(entry("a", b"1"))
    (tmp_path / "layer").mkdir()
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    assert unpack_layer(io.BytesIO(gzip.compress(layer)), diff_id, tmp_path / "layer", ()) == 1


@pytest.mark.parametrize("damage", ["cut", "changed", "other"])
def test_a_damaged_layer_is_refused(tmp_path: Path, damage: str) -> None:
    layer = make_layer(entry("a", b"x" * 4000))
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    archive = gzip.compress(layer)
    sent = {
        "cut": archive[: len(archive) // 2],
        "changed": archive[:-8] + bytes(4) + archive[-4:],
        "other": make_layer(entry("b", b"y")),
    }[damage]
    (tmp_path / "layer").mkdir()
    with pytest.raises(ImageFailure, match="is damaged"):
        unpack_layer(io.BytesIO(sent), diff_id, tmp_path / "layer", ())
