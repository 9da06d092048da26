"""The images that the community's suite asks for, composed on this machine: no registry is needed.

    python tests/conformance/images.py [STORE]

Programs in Go (agnhost, the sample API server, …) are built from the suite's own modules; everything else comes from
Debian's packages, unpacked and never installed. What a folder holds follows from this file and the modules, so the
store is kept in the user's cache under their digest, and made again when one of them changes.

An image here has what the suite's tests use of the published one, under its name. It is not that image: no test may be
counted as passed that looks into an image for its own sake.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kube-core-programs"
GO = shutil.which("go") or "/usr/local/go/bin/go"

REGISTRY = "registry.k8s.io"
E2E = f"{REGISTRY}/e2e-test-images"
SUITE = "k8s.io/kubernetes"
PROGRAMS = {
    "agnhost": f"{SUITE}/test/images/agnhost",
    "nonewprivs": f"{SUITE}/test/images/nonewprivs",
    "pause": "./pause",
    "sample-apiserver": "k8s.io/sample-apiserver",
}
#: What tests call inside of agnhost, besides itself.
TOOLS = (
    "bash", "coreutils", "curl", "bind9-dnsutils", "netcat-openbsd", "iproute2", "iputils-ping", "socat", "iperf",
    "util-linux", "libc-bin", "wget",
)  # fmt: skip
PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nnogroup:x:65534:\n"
#: A user whose groups the image tells, for tests of supplemental groups.
USER = "user-defined-in-image:x:1000:1000::/home:/bin/sh\n"
USERS_GROUP = "group-defined-in-image:x:50000:user-defined-in-image\n"


def images() -> Path:
    """The store, filled."""
    sources = [HERE / name for name in ("images.py", "go.mod", "go.sum", "pause/main.go")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:16]
    store = CACHE / f"conformance-images-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if store.exists():
            return store
        print(f"composing images into {store}", flush=True)
        with tempfile.TemporaryDirectory(prefix="images-", dir=CACHE) as directory:
            Composer(Path(directory)).compose()
            (Path(directory) / "store").rename(store)
    return store


class Composer:
    """Makes images in `directory`/store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = directory / "store"
        self.downloads = directory / "packages"

    def compose(self) -> None:
        programs = self._programs()
        sources = Path(_output([GO, "list", "-m", "-f", "{{.Dir}}", SUITE], HERE).strip()) / "test" / "images"

        busybox = self._root("busybox")
        # Debian's busybox has a wget that breaks off where it is given a time limit, and a shell that hands on no
        # variable whose name is none of a shell's.
        self._unpack(["busybox-static", *self._closure(["wget", "bash"])], busybox)
        (busybox / "bin" / "sh").symlink_to("bash")
        _applets(busybox)
        self._image(f"{E2E}/busybox:1.37.0-2", busybox, command=["sh"])

        tools = self._root("tools")
        self._unpack(["busybox-static", *self._closure(TOOLS)], tools)
        # As its installation would; busybox's speaks no UDP, and busybox as a shell prefers what it has itself.
        (tools / "bin" / "nc").symlink_to("nc.openbsd")
        (tools / "bin" / "sh").symlink_to("bash")
        _applets(tools)
        self._image("kube-core/tools", tools)

        agnhost = self._root("agnhost", users=False)
        shutil.copy2(programs / "agnhost", agnhost / "agnhost")
        (agnhost / "agnhost-2").symlink_to("agnhost")
        (agnhost / "uploads").mkdir()
        for name in ("localhost.crt", "localhost.key"):
            shutil.copyfile(sources / "agnhost" / "porter" / name, agnhost / name)
        (agnhost / "etc" / "passwd").write_text(PASSWD + USER)
        (agnhost / "etc" / "group").write_text(GROUP + "user-defined-in-image:x:1000:\n" + USERS_GROUP)
        for version in ("2.66.1", "2.55"):
            name = f"{E2E}/agnhost:{version}"
            self._image(name, agnhost, base="kube-core/tools", entrypoint=["/agnhost"], command=["pause"])
        base = f"{E2E}/agnhost:2.66.1"

        for name in ("nautilus", "kitten"):
            pages = self.directory / name
            shutil.copytree(sources / name / "html", pages)
            self._image(f"{E2E}/{name}:1.8", pages, base=base, entrypoint=["/agnhost"], command=["test-webserver"])

        escalating = self.directory / "nonewprivs" / "usr" / "local" / "bin"
        escalating.mkdir(parents=True)
        shutil.copy2(programs / "nonewprivs", escalating / "nnp")
        (escalating / "nnp").chmod(0o6755)
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._image(
            f"{E2E}/nonewprivs:1.4", self.directory / "nonewprivs", base="kube-core/tools", command=["nnp"], env=[path]
        )

        nothing = self.directory / "nothing"
        nothing.mkdir()
        self._image(f"{E2E}/glibc-dns-testing:2.1.1", nothing, base="kube-core/tools", command=["bash"])
        self._image(f"{E2E}/nonroot:1.5", nothing, base=base, entrypoint=["/agnhost"], command=["pause"], user="1234")

        pause = self.directory / "pause"
        pause.mkdir()
        shutil.copy2(programs / "pause", pause / "pause")
        for name in (f"{REGISTRY}/pause:3.10.2", f"{REGISTRY}/pause:3.10"):
            self._image(name, pause, entrypoint=["/pause"])

        web = self._root("nginx")
        self._unpack(self._closure(["nginx-light"]), web)
        (web / "var" / "lib" / "nginx").mkdir(parents=True, exist_ok=True)
        (web / "usr" / "share" / "nginx" / "html").mkdir(parents=True, exist_ok=True)
        for version in ("1.27.0-2", "1.28.0-2"):
            self._image(f"{E2E}/nginx:{version}", web, command=["/usr/sbin/nginx", "-g", "daemon off;"])

        server = self._root("sample-apiserver")
        shutil.copy2(programs / "sample-apiserver", server / "sample-apiserver")
        self._image(f"{E2E}/sample-apiserver:1.29.2", server, entrypoint=["/sample-apiserver"])

        etcd = self._root("etcd")
        self._unpack(self._closure(["etcd-server", "etcd-client"]), etcd)
        for name in ("etcd", "etcdctl"):
            (etcd / "usr" / "local" / "bin").mkdir(parents=True, exist_ok=True)
            (etcd / "usr" / "local" / "bin" / name).symlink_to(f"/usr/bin/{name}")
        self._image(f"{REGISTRY}/etcd:3.7.0-0", etcd, command=["etcd"])

    def _programs(self) -> Path:
        built = self.directory / "programs"
        for name, package in PROGRAMS.items():
            command = [GO, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(built / name), package]
            subprocess.run(command, cwd=HERE, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
        return built

    def _root(self, name: str, *, users: bool = True) -> Path:
        """The empty root file system of a container, laid out as Debian's is."""
        root = self.directory / name
        for folder in ("etc", "root", "home", "proc", "sys", "dev", "tmp", "run", "var/tmp", "var/run"):
            (root / folder).mkdir(parents=True)
        for folder in ("tmp", "var/tmp"):
            (root / folder).chmod(0o1777)
        if users:
            for folder in ("bin", "sbin", "lib", "lib64"):
                (root / "usr" / folder).mkdir(parents=True)
                (root / folder).symlink_to(f"usr/{folder}")
            (root / "etc" / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
            (root / "etc" / "passwd").write_text(PASSWD)
            (root / "etc" / "group").write_text(GROUP)
        return root

    def _closure(self, packages: Iterable[str]) -> list[str]:
        """The packages and all that they need on a machine that has nothing."""
        nothing = self.directory / "status"
        nothing.touch()
        options = ["-o", f"Dir::State::status={nothing}", "-o", "APT::Install-Recommends=false"]
        told = _output(["apt-get", *options, "--print-uris", "--yes", "install", *packages], self.directory)
        lines = [line.split() for line in told.splitlines() if line.startswith("'")]
        return [file.partition("_")[0] for _, file, *_ in lines]

    def _unpack(self, packages: Sequence[str], root: Path) -> None:
        self.downloads.mkdir(exist_ok=True)
        missing = [name for name in packages if not any(self.downloads.glob(f"{name}_*.deb"))]
        if missing:
            subprocess.run(
                ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", *missing],
                cwd=self.downloads,
                check=True,
            )
        for name in packages:
            [archive] = self.downloads.glob(f"{name}_*.deb")
            contents = subprocess.run(
                ["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE, check=True
            ).stdout
            unpack = ["tar", "--extract", "--keep-directory-symlink", "--directory", str(root)]
            subprocess.run(unpack, input=contents, check=True)
        for unread in ("doc", "man", "locale", "info"):
            shutil.rmtree(root / "usr" / "share" / unread, ignore_errors=True)
        if (root / "etc" / "ld.so.conf.d").exists():
            (root / "etc" / "ld.so.conf").write_text("include /etc/ld.so.conf.d/*.conf\n")
            subprocess.run(["ldconfig", "-r", str(root)], check=True)

    def _image(self, name: str, root: Path, **says: str | Sequence[str]) -> None:
        options = {"entrypoint": "--entrypoint", "command": "--cmd", "env": "--env", "base": "--base", "user": "--user"}
        command = [sys.executable, "-m", "kube_core.cli", "image", "build", name, "--from-dir", str(root)]
        command += ["--store", str(self.store)]
        for word, value in says.items():
            for each in [value] if isinstance(value, str) else value:
                command += [f"{options[word]}={each}"]
        subprocess.run(command, check=True)


def _applets(root: Path) -> None:
    """busybox under the names of all that it can do, where nothing else has them."""
    folder = root / "usr" / "bin"
    for name in _output([str(folder / "busybox"), "--list"], root).split():
        if not any((root / "usr" / place / name).exists() for place in ("bin", "sbin")):
            (folder / name).symlink_to("busybox")


def _output(command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> str:
    finished = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{' '.join(command)}: {finished.stderr.strip()}")
    return finished.stdout


if __name__ == "__main__":
    print(images())
