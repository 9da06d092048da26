"""What tests with real containers need: whether they can run here, an image, and a store with it."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes.images import BUSYBOX, busybox_layer, make_image
from kube_core._kit import mounts
from kube_core.abc.runtime import Resources, RuntimeFailure
from kube_drivers import kernel
from kube_drivers.runtime.oci.cgroups import Cgroups
from kube_drivers.runtime.oci.images.archives import load_archive
from kube_drivers.runtime.oci.images.registries import Registries, Registry
from kube_drivers.runtime.oci.images.store import ImageStore

__all__ = ["REGISTRIES", "image_store", "missing", "needs_cgroups", "needs_containers", "offline"]

#: None of them is reached.
REGISTRIES = Registries({"*": Registry(offline=True)})


def missing(*programs: str) -> str:
    """What containers need and this machine does not have; "" for nothing."""
    if os.geteuid() != 0:
        return "containers need root here"
    if not BUSYBOX.exists():
        return f"{BUSYBOX} is missing (Debian's busybox-static)"
    gone = [program for program in programs if shutil.which(program) is None]
    return f"{', '.join(gone)} is not installed" if gone else _refused()


@functools.cache
def _refused() -> str:
    """What of containers this machine does not let anyone have; "" for nothing."""
    cgroups, name = Cgroups.of_machine(), f"/kube-core-probe-{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for each in ("upper", "lower", "work", "merged", "namespaces"):
            (place / each).mkdir()
        try:
            kernel.pin_namespaces(("net", "ipc", "uts"), place / "namespaces", lambda: None)
            mounts.mount(
                "overlay", place / "merged", f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
            )
            cgroups.create(name, Resources())
        except (OSError, RuntimeFailure) as error:
            return f"this machine has no containers: {error}"
        finally:
            for path in mounts.mounts_below(place):
                mounts.unmount(path)
            cgroups.remove(name)
    return ""


def needs_cgroups() -> pytest.MarkDecorator:
    reason = _no_cgroups()
    return pytest.mark.skipif(bool(reason), reason=reason or "-")


@functools.cache
def _no_cgroups() -> str:
    name = f"/kube-core-probe-{os.getpid()}"
    try:
        cgroups = Cgroups.of_machine()
        cgroups.create(name, Resources(memory_bytes=1 << 30))
        cgroups.remove(name)
    except (OSError, RuntimeFailure) as error:
        return f"this machine lets nobody make cgroups: {error}"
    return "" if "memory" in cgroups.trees or cgroups.pure else "this machine has no cgroups for memory"


def needs_containers(*programs: str) -> pytest.MarkDecorator:
    reason = missing(*programs)
    return pytest.mark.skipif(bool(reason), reason=reason or "-")


@contextmanager
def offline(store: Path) -> Iterator[None]:
    """The machine's images are in this folder, and no registry is asked for others."""
    store.mkdir()
    (store / "registries.json").write_text('{"registries": {"*": {"offline": true}}}')
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KUBE_CORE_IMAGES", str(store))
        yield


def image_store(factory: pytest.TempPathFactory, *names: str) -> Path:
    """A store in which these names mean an image of busybox that runs a shell."""
    folder = factory.mktemp("images")
    archive = make_image(busybox_layer(), Cmd=["sh"], Env=["PATH=/bin"]).save_docker(folder / "busybox.tar", *names)
    load_archive(ImageStore(folder / "store"), archive)
    return folder / "store"
