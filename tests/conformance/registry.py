"""A registry on loopback that has the images of a store: what a node asks of it when an image is always to be pulled.

It knows manifests and configurations, which is all that a store keeps once layers are unpacked; a node that has the
layers asks for nothing else.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from images import REGISTRY

__all__ = ["serving"]

_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")
_BLOB = re.compile(r"/v2/.+/blobs/(?P<digest>sha256:[0-9a-f]{64})")


@contextlib.contextmanager
def serving(store: Path) -> Iterator[str]:
    """Its URL, while it is there."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, digest = self._asked()
            file = store / "blobs" / digest.replace(":", "/")
            content = file.read_bytes() if digest and file.is_file() else None
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Docker-Content-Digest", digest)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET

        def _asked(self) -> tuple[str, str]:
            if match := _MANIFEST.fullmatch(self.path):
                name, reference = match["name"], match["reference"]
                names = json.loads((store / "index.json").read_text())["names"]
                digest = reference if reference.startswith("sha256:") else names.get(f"{REGISTRY}/{name}:{reference}")
                return "application/vnd.oci.image.manifest.v1+json", digest or ""
            match = _BLOB.fullmatch(self.path)
            return "application/octet-stream", match["digest"] if match else ""

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: what the suite says is the log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
