"""Replay exchanges recorded from the upstream server against ours, and hold the counts.

Usage: replay_truth.py FOLDER [--update]. The folder has a `replay.py` and one folder of scenarios an area. Counts are
printed per area and compared with `tests/wire/truth-counts.json`: one that goes down fails; `--update` writes them
down. Without the folder it says so; where `KUBE_CORE_REQUIRE_TRUTH` is set, that is a failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = Path(__file__).parent.parent / "tests" / "wire" / "truth-counts.json"
LINE = re.compile(r"^(\S+)\s+(\d+) of\s+(\d+) exchanges,\s+(\d+) of\s+(\d+) scenarios")


def main() -> int:
    folder = Path(sys.argv[1])
    if not (folder / "replay.py").exists():
        print(f"recorded exchanges: not found in {folder}; nothing was compared")
        return 1 if os.environ.get("KUBE_CORE_REQUIRE_TRUTH") else 0
    areas = sorted(path for path in folder.iterdir() if path.is_dir())
    counts = asyncio.run(replay(folder, areas))
    for area, (passed, total) in counts.items():
        print(f"{area:<20} {passed:>5} of {total:>5} exchanges")
    if "--update" in sys.argv:
        COUNTS.write_text(json.dumps({area: passed for area, (passed, _) in counts.items()}, indent=1) + "\n")
        return 0
    known: dict[str, int] = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    if suspects := [area for area in areas if area.name in worse_than(known, counts)]:
        # A watch's second can be over before a busy machine has said everything: look again before saying so.
        print(f"looking again at {', '.join(area.name for area in suspects)}")
        counts |= asyncio.run(replay(folder, suspects))
        found = [counts[area.name] for area in areas]
        counts["all"] = sum(passed for passed, _ in found), sum(total for _, total in found)
    worse = worse_than(known, counts)
    for area in worse:
        print(f"{area}: {counts.get(area, (0, 0))[0]} exchanges agree, {known[area]} did before", file=sys.stderr)
    return 1 if worse else 0


def worse_than(known: dict[str, int], counts: dict[str, tuple[int, int]]) -> list[str]:
    """The areas in which fewer exchanges agree than are written down."""
    return [area for area, passed in known.items() if counts.get(area, (0, 0))[0] < passed]


async def replay(folder: Path, areas: list[Path]) -> dict[str, tuple[int, int]]:
    """(agreeing, all) exchanges by area, against a server of our own without controllers or nodes."""
    from kube_core.abc.transport import User
    from kube_core.cluster import Cluster

    # Upstream's recordings were made by this user, with a token: some scenarios leave it out, or send another.
    recorder = User("admin", ("system:masters",), uid="admin")
    async with Cluster(nodes=0, controllers=(), tokens={"recorder": recorder}) as cluster:
        with tempfile.TemporaryDirectory() as directory:
            authority = Path(directory) / "ca.crt"
            authority.write_bytes(cluster.authority.certificate)
            command = [sys.executable, str(folder / "replay.py"), "check", "--quiet", "--server", cluster.url]
            command += ["--ca", str(authority), "--token", "recorder"]
            process = await asyncio.create_subprocess_exec(*command, *map(str, areas), stdout=subprocess.PIPE)
            output, _ = await process.communicate()
    found = {
        match[1]: (int(match[2]), int(match[3])) for line in output.decode().splitlines() if (match := LINE.match(line))
    }
    if not found:
        raise SystemExit(f"replay.py printed no counts:\n{output.decode()}")
    return found


if __name__ == "__main__":
    sys.exit(main())
