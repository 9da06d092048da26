"""What is kept of a named cluster: `$XDG_STATE_HOME/kube-core/NAME/`.

    cluster.json     the options it was started with, and the port it listens on
    lock             held while it runs; contains the process id
    store.db         the SQLite store        ca.crt, ca.key, service-account.key
    nodes/NAME/      what each node keeps    volumes/    network/    log

A running cluster holds the lock, which the system releases however the process ends; so "is it running" is never
guessed from a stale file. Files are replaced whole.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs
import orjson

from kube_core._kit.clock import SystemClock

__all__ = ["ClusterState", "StateError", "held_folder", "state_root"]

#: How often a lock is tried, and the seconds between: who only asks whether a cluster runs has it for a moment.
_TRIES = 10
_STEP = 0.01
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class StateError(Exception):
    """State that cannot be read or written; the message is one clear line for a person."""


def state_root() -> Path:
    """The folder of all clusters' state, by the XDG base directory specification."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "kube-core"


@contextmanager
def held_folder(folder: Path, whose: str) -> Iterator[Path]:
    """A folder, made if need be, while no other program has it. Raises `StateError`, and OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"{whose} is running already, with its state in {folder}") from None
        yield folder


@attrs.frozen
class ClusterState:
    """The state of one cluster."""

    name: str
    directory: Path

    @classmethod
    def of(cls, name: str) -> ClusterState:
        """Raises `StateError` for a name that cannot be one."""
        if not _NAME.fullmatch(name):
            raise StateError(
                f"cluster name {name!r}: use up to 40 lower case letters, digits and '-', and begin and end with a "
                "letter or digit"
            )
        return cls(name, state_root() / name)

    @property
    def store(self) -> str:
        return f"sqlite://{self.directory / 'store.db'}"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def make(self) -> None:
        """Make the directory. Raises `StateError`."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.directory / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StateError(f"cannot keep state in {self.directory}: {error.strerror or error}") from None

    def load(self) -> Mapping[str, Any]:
        """What was saved; empty where nothing was. Raises `StateError` for a damaged file, which stays as it is."""
        path = self.directory / "cluster.json"
        try:
            saved = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StateError(f"cannot read {path}: {error.strerror or error}") from None
        except orjson.JSONDecodeError as error:
            raise StateError(f"{path} is damaged ({error}); repair or remove it") from None
        if not isinstance(saved, dict):
            raise StateError(f"{path} is damaged (not an object); repair or remove it")
        return saved

    def save(self, options: Mapping[str, Any]) -> None:
        """Raises `StateError`."""
        from kube_core.auth.certificates import write_file

        path = self.directory / "cluster.json"
        try:
            write_file(path, orjson.dumps(options, option=orjson.OPT_INDENT_2) + b"\n", mode=0o600)
        except OSError as error:
            raise StateError(f"cannot write {path}: {error.strerror or error}") from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Own the cluster while the block runs. Raises `StateError` when another process does."""
        try:
            file = open(self.directory / "lock", "a+")  # noqa: SIM115 (closed below, after the lock)
        except OSError as error:
            raise StateError(f"cannot lock {self.directory}: {error.strerror or error}") from None
        with file:
            if not _locked(file):
                raise StateError(f"cluster {self.name!r} is running already (process {self._pid()})")
            try:
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
            except OSError as error:
                raise StateError(f"cannot keep state in {self.directory}: {error.strerror or error}") from None
            try:
                yield
            finally:
                file.truncate(0)

    def running(self) -> int:
        """The id of the process that runs the cluster, 0 when none does."""
        try:
            file = open(self.directory / "lock")  # noqa: SIM115
        except OSError:
            return 0
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return self._pid()
            return 0

    def _pid(self) -> int:
        try:
            return int((self.directory / "lock").read_text() or 0)
        except (OSError, ValueError):
            return 0


def _locked(file: IO[str]) -> bool:
    clock = SystemClock()
    for _ in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            clock.block(_STEP)
        else:
            return True
    return False
