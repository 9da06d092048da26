"""The images that the validation suite asks for, composed on this machine and served by a registry on loopback.

What stands on busybox is made of Debian's two; nginx, and a program that gains privileges, are those of the images of
the conformance suite. An image here has what the suite's tests use of the published one, under its name. It is not that
image: the one that is asked for by its digest is not there.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fakes.images import BUSYBOX, FakeRegistry, MadeImage, entry, make_image, make_layer
from kube_drivers.runtime.oci.images.store import ImageStore

__all__ = ["publish"]

ROOT = Path(__file__).resolve().parents[2]
_E2E = "e2e-test-images"
_TOOLS = "k8s-staging-cri-tools"
_FOLDERS = ("bin", "etc", "proc", "sys", "dev", "home", "root", "usr", "usr/bin", "var", "var/run", "var/lib", "www")
_PASSWD = (
    b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\nnobody:x:65534:65534::/home:/bin/false\n"
)
_GROUP = b"root:x:0:\nwww-data:x:33:\nnobody:x:65534:\n"
#: A user that the image knows to be of a group.
_KNOWN_USER = b"default-user:x:1000:1000::/home:/bin/sh\n"
_KNOWN_GROUPS = b"default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"
#: What Debian's busybox has not.
_SCRIPTS = {
    "pgrep": '#!/bin/sh\ngrep -lx "$1" /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3\n',
    "ipcs": "#!/bin/sh\nawk '{ print $1, $2, $3, $4 }' /proc/sysvipc/shm\n",
}
_NGINX = """\
user www-data;
pid /var/run/nginx.pid;
events {{}}
http {{ server {{ listen {port}; root /usr/share/nginx/html; }} }}
"""


def publish(registry: FakeRegistry) -> None:
    """Put them all in."""
    tools = [entry(f"bin/{name}", text.encode(), mode=0o755) for name, text in _SCRIPTS.items()]
    known = entry("etc/passwd", _PASSWD), entry("etc/group", _GROUP)
    base = make_layer(*_busybox("bin"), *_shell(), *tools, *known)
    registry.put(f"{_E2E}/busybox", "1.29-2", make_image(base, Cmd=["sh"]))
    registry.put(f"{_TOOLS}/test-image-latest", "latest", _of(base, "test-image-latest"))
    registry.put(f"{_TOOLS}/test-image-tag", "test", _of(base, "test-image-tag"))
    registry.put(f"{_TOOLS}/test-image-tag", "all", _of(base, "test-image-tag"))
    for number in ("1", "2", "3"):
        registry.put(f"{_TOOLS}/test-image-{number}", "latest", _of(base, f"test-image-{number}"))
        registry.put(f"{_TOOLS}/test-image-tags", number, _of(base, "test-image-tags"))
    users = {"uid": "1002", "username": "www-data", "uid-group": "1003:users", "username-group": "www-data:www-data"}
    for name, user in users.items():
        registry.put(f"{_TOOLS}/test-image-user-{name}", "latest", make_image(base, Cmd=["sh"], User=user))
    grouped = make_layer(entry("etc/passwd", _PASSWD + _KNOWN_USER), entry("etc/group", _GROUP + _KNOWN_GROUPS))
    registry.put(f"{_TOOLS}/test-image-predefined-group", "latest", make_image(base, grouped, Cmd=["sh"], User="1000"))
    serving = ["sh", "-c", "echo starting httpd; exec httpd -f -p 80 -h /www"]
    page = make_layer(entry("www/index.html", b"<html><body>It works!</body></html>\n"))
    registry.put(f"{_E2E}/httpd", "2.4.39-4", make_image(base, page, Cmd=serving))
    registry.put("pause", "3.9", make_image(base, Entrypoint=["sleep", "1000000"]))
    suite = _Suite()
    nginx, shell = suite.layer("nginx:1.28.0-2"), make_layer(*_busybox("usr/bin"))
    for name, tag, port in ((f"{_E2E}/nginx", "1.14-2", 80), (f"{_TOOLS}/hostnet-nginx-amd64", "latest", 12003)):
        settings = make_layer(entry("etc/nginx/nginx.conf", _NGINX.format(port=port).encode()))
        registry.put(name, tag, make_image(nginx, shell, settings, Cmd=["/usr/sbin/nginx", "-g", "daemon off;"]))
    gaining = make_layer(entry("bin/nnp", suite.file("nonewprivs:1.4", "usr/local/bin/nnp"), mode=0o6755))
    registry.put(f"{_E2E}/nonewprivs", "1.3", make_image(base, gaining, Cmd=["nnp"]))


class _Suite:
    """The images of the conformance suite, unpacked."""

    def __init__(self) -> None:
        made = [sys.executable, str(ROOT / "tests" / "conformance" / "images.py")]
        found = subprocess.run(made, stdout=subprocess.PIPE, text=True, check=True)
        self._store = ImageStore(Path(found.stdout.splitlines()[-1]))

    def _layers(self, name: str) -> list[Path]:
        image = self._store.find(f"registry.k8s.io/{_E2E}/{name}")
        assert image is not None, name
        return [self._store.layers_directory / each for each in self._store.lowers(image)]

    def layer(self, name: str) -> bytes:
        """Its only layer, as an archive."""
        [folder] = self._layers(name)
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(folder.iterdir()):
                archive.add(path, path.name)
        return file.getvalue()

    def file(self, name: str, path: str) -> bytes:
        return next(each / path for each in self._layers(name) if (each / path).exists()).read_bytes()


def _of(base: bytes, mark: str) -> MadeImage:
    """One of several that differ in nothing but a file."""
    return make_image(base, make_layer(entry(mark, mark.encode())), Cmd=["sh"])


def _busybox(folder: str) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The program under the names of all that it can do, which are files of their own, as in the published image."""
    if folder == "bin":
        yield from (entry(name) for name in _FOLDERS)
        yield entry("tmp", mode=0o1777)
    yield entry(f"{folder}/busybox", BUSYBOX.read_bytes(), mode=0o755)
    names = subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    for name in names:
        if name != "busybox" and (folder, name) != ("bin", "sh"):
            yield entry(f"{folder}/{name}", type=tarfile.LNKTYPE, linkname=f"{folder}/busybox", mode=0o755)


def _shell() -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Debian's other busybox, with its libraries: the static one's shell does not look at the files of its tools."""
    with tempfile.TemporaryDirectory() as directory:
        download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", "busybox"]
        subprocess.run(download, cwd=directory, check=True)
        [archive] = Path(directory).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, "unpacked"], cwd=directory, check=True)
        program = Path(directory, "unpacked", "bin", "busybox")
        yield entry("bin/sh", program.read_bytes(), mode=0o755)
        needed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    for library in re.findall(r"/\S+", needed):
        yield entry(library.strip("/"), Path(library).read_bytes(), mode=0o755)
