from __future__ import annotations

import os
from pathlib import Path

from kube_core.node.volumes.directory import File, replace_files


def test_files_are_replaced_all_at_once_by_one_link(tmp_path: Path) -> None:
    assert replace_files(str(tmp_path), {"a": File(b"1", 0o644), "d/b": File(b"1", 0o400)}, now=0)
    first = os.readlink(tmp_path / "..data")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "d" / "b").read_bytes() == b"1"
    assert (tmp_path / "d" / "b").stat().st_mode & 0o777 == 0o400
    assert replace_files(str(tmp_path), {"a": File(b"2", 0o644)}, now=0)
    assert os.readlink(tmp_path / "..data") != first
    assert (tmp_path / "a").read_bytes() == b"2"
    assert sorted(name for name in os.listdir(tmp_path) if not name.startswith("..")) == ["a"]
    assert not (tmp_path / first).exists()


def test_the_same_files_again_change_nothing(tmp_path: Path) -> None:
    replace_files(str(tmp_path), {"a": File(b"1", 0o644)}, now=0)
    before = os.readlink(tmp_path / "..data")
    assert not replace_files(str(tmp_path), {"a": File(b"1", 0o644)}, now=9)
    assert os.readlink(tmp_path / "..data") == before
