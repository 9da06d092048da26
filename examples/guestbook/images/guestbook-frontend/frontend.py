"""The guestbook's face: a page with all entries and a form, in front of the backend.

GET /                 the page
POST /                a name and a message from the form; answers with the page again
GET /entries          the entries as JSON
GET /healthz          alive
GET /readyz           ready for traffic; 503 once the program has been asked to end

`frontend.py wait` is the init container: it ends when the backend answers.

Python's standard library alone. It binds to POD_IP (0.0.0.0 where that is not set) and port 7080. It finds the backend
by the variables that Kubernetes sets for a Service, or else by its name. On SIGTERM it first turns not ready, keeps
serving for a moment so that everyone who sends traffic can notice, and ends when every request is answered.
"""

from __future__ import annotations

import html
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

HERE = Path(__file__).parent
VERSION = os.environ.get("GUESTBOOK_VERSION", "v1")
TITLE = os.environ.get("GUESTBOOK_TITLE", "Guestbook")
STYLE = Path(os.environ.get("STYLE_FILE", "/etc/guestbook/style.css"))
TOKEN = os.environ.get("GUESTBOOK_TOKEN", "")
HOSTNAME = os.environ.get("POD_NAME", "")
BACKEND = "http://{}:{}".format(
    os.environ.get("GUESTBOOK_BACKEND_SERVICE_HOST", "guestbook-backend"),
    os.environ.get("GUESTBOOK_BACKEND_SERVICE_PORT", "7080"),
)

#: Seconds in which those who send traffic are to notice that this process is about to end.
LAME_DUCK = 1.0
LONGEST = 16_384


class Unreachable(Exception):
    """The backend cannot be asked."""


def ask_backend(path: str, body: dict[str, str] | None = None) -> object:
    request = urllib.request.Request(
        BACKEND + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)
    except (OSError, ValueError) as error:
        raise Unreachable(str(error)) from None


def page() -> str:
    entries = ask_backend("/entries")
    assert isinstance(entries, list)
    items = "\n".join(
        "<li><b>{name}</b> <time>{time}</time><p>{message}</p></li>".format(
            name=html.escape(str(entry["name"])),
            message=html.escape(str(entry["message"])),
            time=time.strftime("%d %B %Y, %H:%M", time.gmtime(float(entry["time"]))),
        )
        for entry in reversed(entries)
    )
    template = (HERE / f"page-{VERSION}.html").read_text()
    for name, value in {
        "{{title}}": html.escape(TITLE),
        "{{style}}": STYLE.read_text() if STYLE.exists() else "",
        "{{count}}": str(len(entries)),
        "{{entries}}": items or "<li><p>Nobody has written yet.</p></li>",
        "{{pod}}": html.escape(HOSTNAME),
        "{{version}}": VERSION,
    }.items():
        template = template.replace(name, value)
    return template


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, Handler)
        self.ending = False
        self.under_way = 0
        self.quiet = threading.Condition()

    def end(self) -> None:
        self.ending = True
        time.sleep(LAME_DUCK)
        self.shutdown()

    def begin(self, change: int) -> None:
        with self.quiet:
            self.under_way += change
            self.quiet.notify_all()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves in one piece
    server: Server

    def do_GET(self) -> None:
        self.server.begin(+1)
        try:
            if self.path == "/":
                self.show_page(200)
            elif self.path == "/entries":
                self.answer(200, json.dumps(ask_backend("/entries")), "application/json")
            elif self.path == "/healthz":
                self.answer(200, "alive\n")
            elif self.path == "/readyz":
                self.answer(503 if self.server.ending else 200, "ending\n" if self.server.ending else "ready\n")
            else:
                self.answer(404, "not found\n")
        except Unreachable as error:
            self.answer(502, f"the backend cannot be asked: {error}\n")
        finally:
            self.server.begin(-1)

    def do_POST(self) -> None:
        self.server.begin(+1)
        try:
            length = int(self.headers.get("Content-Length") or 0)
            if length > LONGEST:
                self.close_connection = True
                self.answer(413, "too long\n")
                return
            form = parse_qs(self.rfile.read(length).decode("utf-8", "replace"))
            message = form.get("message", [""])[0]
            if message.strip():
                ask_backend("/entries", {"name": form.get("name", [""])[0], "message": message})
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        except Unreachable as error:
            self.answer(502, f"the backend cannot be asked: {error}\n")
        finally:
            self.server.begin(-1)

    def show_page(self, status: int) -> None:
        self.answer(status, page(), "text/html; charset=utf-8")

    def answer(self, status: int, text: str, content_type: str = "text/plain; charset=utf-8") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Guestbook-Version", VERSION)
        if self.server.ending:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        if self.path not in ("/healthz", "/readyz"):
            print(f"{self.address_string()} {format % arguments}", flush=True)


def wait_for_backend() -> None:
    print(f"waiting for {BACKEND}", flush=True)
    while True:
        try:
            ask_backend("/healthz")
        except Unreachable as error:
            print(error, flush=True)
            time.sleep(0.1)
        else:
            print("the backend answers", flush=True)
            return


def serve() -> None:
    address = os.environ.get("POD_IP") or "0.0.0.0"
    server = Server((address, 7080))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.end).start())
    print(f"guestbook {VERSION} on {address}:7080", flush=True)
    server.serve_forever(poll_interval=0.05)
    with server.quiet:
        server.quiet.wait_for(lambda: server.under_way == 0, timeout=5)
    print("bye", flush=True)
    sys.stdout.flush()
    os._exit(0)  # connections that are kept alive, and idle, have threads that wait


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1:] == ["wait"]:
        wait_for_backend()
    else:
        serve()
