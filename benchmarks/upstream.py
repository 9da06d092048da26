"""The peer of our benchmarks: upstream's API server with its etcd, started alone, on loopback.

Both programs are looked for in one folder, which whoever wants the comparison fills:

    cd tests/conformance && go build -o FOLDER/kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
    cp "$(command -v etcd)" FOLDER/        # Debian's package etcd-server has one

Nothing else of a control plane runs beside it, as nothing runs beside ours; etcd writes durably, as our store does.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import psutil
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["Upstream", "upstream"]

#: Seconds until it has to be ready.
_LIMIT = 120.0


@attrs.frozen
class Upstream:
    """`seconds`: from the start of both programs until the server said that it is ready."""

    url: str
    processes: Sequence[psutil.Process]
    seconds: float


@contextmanager
def upstream(programs: Path, token: str) -> Iterator[Upstream]:
    """A new, empty server that takes `token` for an administrator's."""
    with ExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="upstream-bench-")))
        (directory / "tokens.csv").write_text(f"{token},bench,bench,system:masters\n")
        (directory / "accounts.key").write_bytes(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        client, peer, secure = _free_ports(3)
        etcd = [programs / "etcd", "--data-dir", directory / "etcd", "--log-level", "error"]
        etcd += [
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
        ]
        etcd += [f"--listen-peer-urls=http://127.0.0.1:{peer}"]
        server = [programs / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}"]
        server += ["--bind-address=127.0.0.1", f"--secure-port={secure}", f"--cert-dir={directory / 'certificates'}"]
        server += [f"--token-auth-file={directory / 'tokens.csv'}", "--authorization-mode=Node,RBAC"]
        server += ["--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc"]
        server += [f"--service-account-{use}={directory / 'accounts.key'}" for use in ("key-file", "signing-key-file")]
        log = exits.enter_context((directory / "log").open("wb"))
        began = time.monotonic()
        processes = []
        for command in (etcd, server):
            process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
            exits.callback(_end, process)
            processes.append(psutil.Process(process.pid))
        _wait(secure, directory / "log")
        yield Upstream(f"https://127.0.0.1:{secure}", processes, time.monotonic() - began)


def _wait(port: int, log: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + _LIMIT
    while time.monotonic() < end:
        try:
            connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"upstream's server did not get ready:\n{log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as exits:
        sockets = [exits.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
