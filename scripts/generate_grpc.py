"""Compile our .proto files: python scripts/generate_grpc.py (needs grpcio-tools); --check only compares.

Beside each file comes what protoc makes of it, as a set of descriptors, from which the messages are made when they are
needed. No Python is generated: that would demand the very version of protobuf that it was generated with.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("kube_core", "plugins", "drivers")


def compiled(source: Path) -> bytes:
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "made"
        arguments = ["protoc", f"-I{source.parent}", f"--descriptor_set_out={made}", str(source)]
        if protoc.main(arguments):
            raise SystemExit(f"{source} does not compile")
        return made.read_bytes()


def sources() -> list[Path]:
    return sorted(file for folder in SOURCES for file in (ROOT / folder).rglob("*.proto"))


def main() -> int:
    stale = []
    for source in sources():
        made, file = compiled(source), source.with_suffix(".descriptors")
        if not file.exists() or file.read_bytes() != made:
            stale.append(file)
            if "--check" not in sys.argv:
                file.write_bytes(made)
    if "--check" in sys.argv and stale:
        print("out of date:", *(file.relative_to(ROOT) for file in stale))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
