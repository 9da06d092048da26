"""The connections of a supervisor: frames in, frames out, answers that come later. Standard library alone."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import json
import selectors
import struct

if __package__:
    from kube_drivers.runtime.supervised.processes import Refused
    from kube_drivers.runtime.supervised.pumps import HIGH_WATER
else:
    from processes import Refused  # type: ignore
    from pumps import HIGH_WATER  # type: ignore

FRAME_LIMIT = 64 * 1024 * 1024


class Later:
    """An answer that is not known yet. `settle` or `refuse` it once, at any time."""

    def __init__(self):
        self.connection = None
        self.identity = None
        self.frame = None

    def promise(self, connection, identity):
        self.connection, self.identity = connection, identity
        self.tell()

    def settle(self, answer=None):
        self.frame = {"ok": answer}
        self.tell()

    def refuse(self, error):
        self.frame = {"error": str(error), "reason": error.reason}
        self.tell()

    def tell(self):
        if self.connection is not None and self.frame is not None:
            self.connection.send({"id": self.identity, **self.frame})


class Connection:
    """An agent's connection, or that of one command in a container."""

    def __init__(self, supervisor, sock):
        self.supervisor = supervisor
        self.loop = supervisor.loop
        self.sock = sock
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.watching = False
        self.command = None
        self.open = True
        sock.setblocking(False)
        self.loop.read(sock, self.ready)

    def ready(self, mask):
        if mask & selectors.EVENT_WRITE:
            self.flush()
        if not self.open or not mask & selectors.EVENT_READ:
            return
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.incoming += data
        while self.open and len(self.incoming) >= 4:
            (length,) = struct.unpack(">I", self.incoming[:4])
            if length > FRAME_LIMIT:
                self.close()
                return
            if len(self.incoming) < 4 + length:
                return
            frame = json.loads(self.incoming[4 : 4 + length])
            del self.incoming[: 4 + length]
            self.take(frame)

    def take(self, frame):
        if self.command is not None:
            self.command.take(frame)
            return
        identity = frame.get("id")
        try:
            answer = self.supervisor.perform(frame, self)
        except Refused as error:
            self.send({"id": identity, "error": str(error), "reason": error.reason})
        except Exception as error:
            self.send({"id": identity, "error": f"{type(error).__name__}: {error}", "reason": ""})
        else:
            if isinstance(answer, Later):
                answer.promise(self, identity)
            else:
                self.send({"id": identity, "ok": answer})

    def send(self, frame):
        if not self.open:
            return
        body = json.dumps(frame, separators=(",", ":")).encode()
        self.outgoing += struct.pack(">I", len(body)) + body
        self.flush()

    def flush(self):
        try:
            while self.outgoing:
                sent = self.sock.send(self.outgoing)
                del self.outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.outgoing else 0)
        self.loop.selector.modify(self.sock, events, self.ready)
        if self.command is not None and len(self.outgoing) < HIGH_WATER:
            self.command.resume()

    def close(self):
        if not self.open:
            return
        self.open = False
        self.loop.forget(self.sock)
        self.sock.close()
        self.supervisor.connections.discard(self)
        if self.command is not None:
            self.command.abandon()
        self.supervisor.look_idle()
