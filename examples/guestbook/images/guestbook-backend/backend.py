"""The guestbook's memory: it keeps entries in a file, and gives them to whoever knows the token.

GET /entries          all entries, oldest first, as JSON
POST /entries         {"name": …, "message": …} adds one; it is on disk before the answer is sent
GET /healthz          for probes

Python's standard library alone. It binds to POD_IP (0.0.0.0 where that is not set) and port 7080; SIGTERM ends it once
the requests that it has begun are answered.
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = os.environ["GUESTBOOK_TOKEN"]
ENTRIES = Path(os.environ.get("DATA_DIRECTORY", "/var/lib/guestbook"), "entries.jsonl")
LONGEST = 16_384

_writing = threading.Lock()


def read_entries() -> list[dict[str, object]]:
    try:
        lines = ENTRIES.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line]


def add_entry(name: str, message: str) -> dict[str, object]:
    entry: dict[str, object] = {"name": name, "message": message, "time": int(time.time())}
    with _writing, ENTRIES.open("a") as out:
        out.write(json.dumps(entry) + "\n")
        out.flush()
        os.fsync(out.fileno())
    return entry


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves in one piece

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, {"ok": True})
        elif self.path != "/entries":
            self.answer(404, {"error": "not found"})
        elif self.may():
            self.answer(200, read_entries())

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LONGEST:
            self.close_connection = True
            self.answer(413, {"error": "too long"})
            return
        body = self.rfile.read(length)
        if self.path != "/entries":
            self.answer(404, {"error": "not found"})
        elif self.may():
            try:
                sent = json.loads(body)
                name, message = str(sent["name"]).strip(), str(sent["message"]).strip()
            except (ValueError, KeyError, TypeError):
                self.answer(400, {"error": "an entry has a name and a message"})
                return
            self.answer(201, add_entry(name or "somebody", message))

    def may(self) -> bool:
        known = hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {TOKEN}")
        if not known:
            self.answer(401, {"error": "who are you?"})
        return known

    def answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        if self.path != "/healthz":
            print(f"{self.address_string()} {format % arguments}", flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    address = os.environ.get("POD_IP") or "0.0.0.0"
    server = Server((address, 7080), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"keeping entries in {ENTRIES}, listening on {address}:7080", flush=True)
    server.serve_forever(poll_interval=0.05)
    with _writing:  # what is being written is written
        print("bye", flush=True)
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
