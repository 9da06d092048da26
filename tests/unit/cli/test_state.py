"""What is kept of a named cluster."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from kube_core._kit.clock import SystemClock
from kube_core.cli.state import ClusterState, StateError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterState:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = ClusterState.of("one")
    made.make()
    return made


def test_state_lives_under_the_xdg_state_directory(state: ClusterState, tmp_path: Path) -> None:
    assert state.directory == tmp_path / "kube-core" / "one"


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a/b", "..", "x" * 41])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(StateError, match="cluster name"):
        ClusterState.of(name)


def test_what_was_saved_is_loaded(state: ClusterState) -> None:
    assert state.load() == {}
    state.save({"nodes": 3})
    assert state.load() == {"nodes": 3}


@pytest.mark.parametrize("content", [b"{bad", b"[]", b"", b"\xff\xfe"])
def test_a_damaged_file_is_named_and_left_as_it_is(state: ClusterState, content: bytes) -> None:
    path = state.directory / "cluster.json"
    path.write_bytes(content)
    with pytest.raises(StateError, match="is damaged"):
        state.load()
    assert path.read_bytes() == content


def test_a_cluster_is_held_once(state: ClusterState) -> None:
    with state.held():
        program = (
            "from kube_core.cli.state import *; s = ClusterState.of('one'); print(s.running());\nwith s.held(): pass"
        )
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "is running already" in other.stderr
        assert int(other.stdout) > 0
    assert state.running() == 0


def test_somebody_who_only_asks_whether_it_runs_keeps_nobody_from_it(
    state: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = (state.directory / "lock").open("w")
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr(SystemClock, "block", lambda *_: asking.close())
    with state.held():
        assert asking.closed


def test_a_lock_left_behind_by_a_killed_process_does_not_count(state: ClusterState) -> None:
    (state.directory / "lock").write_text("999999")
    assert state.running() == 0
    with state.held():
        pass


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kube-core").write_text("a file, where the directory should be")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(StateError, match="cannot keep state"):
        ClusterState.of("one").make()
