"""Replay exchanges recorded from the upstream server against ours, and hold the counts.

Usage: replay_truth.py FOLDER [--update]. The folder has a `replay.py` and one folder of scenarios an area. Counts are
printed per area and compared with `tests/wire/truth-counts.json`: one that goes down fails; `--update` writes them
down. Each area counts twice: exchanges that agree, and (`AREA, worded`) those whose errors and warnings have upstream's
wording too. Without the folder it says so; where `KUBE_CORE_REQUIRE_TRUTH` is set, that is a failure.
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
#: What only the wording makes differ, of the differences that replay.py lists below a step.
WORDING = (".body.message", ".warnings")
WORDED = ", worded"


def main() -> int:
    # The areas are recognised by their whole paths in what replay.py prints.
    folder = Path(sys.argv[1]).resolve()
    if not (folder / "replay.py").exists():
        print(f"recorded exchanges: not found in {folder}; nothing was compared")
        return 1 if os.environ.get("KUBE_CORE_REQUIRE_TRUTH") else 0
    areas = sorted(path for path in folder.iterdir() if path.is_dir())
    counts = asyncio.run(replay(folder, areas))
    for area, (passed, total) in counts.items():
        if not area.endswith(WORDED):
            print(
                f"{area:<20} {passed:>5} of {total:>5} exchanges, {counts[area + WORDED][0]:>5} with upstream's wording"
            )
    if "--update" in sys.argv:
        COUNTS.write_text(json.dumps({area: passed for area, (passed, _) in counts.items()}, indent=1) + "\n")
        return 0
    known: dict[str, int] = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    fewer = {name.removesuffix(WORDED) for name in worse_than(known, counts)}
    if suspects := [area for area in areas if area.name in fewer]:
        # A watch's second can be over before a busy machine has said everything: look again before saying so.
        print(f"looking again at {', '.join(area.name for area in suspects)}")
        counts |= asyncio.run(replay(folder, suspects))
        for kind in ("", WORDED):
            found = [counts[area.name + kind] for area in areas]
            counts["all" + kind] = sum(passed for passed, _ in found), sum(total for _, total in found)
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
            command = [sys.executable, str(folder / "replay.py"), "check", "--messages", "--server", cluster.url]
            command += ["--ca", str(authority), "--token", "recorder"]
            process = await asyncio.create_subprocess_exec(*command, *map(str, areas), stdout=subprocess.PIPE)
            output, _ = await process.communicate()
    text = output.decode()
    worded = {match[1]: (int(match[2]), int(match[3])) for line in text.splitlines() if (match := LINE.match(line))}
    if not worded:
        raise SystemExit(f"replay.py printed no counts:\n{text}")
    forgiven = only_wording(text)
    forgiven["all"] = sum(forgiven.values())
    found = {}
    for area, (passed, total) in worded.items():
        found[area] = passed + forgiven.get(area, 0), total
        found[area + WORDED] = passed, total
    return found


def only_wording(text: str) -> dict[str, int]:
    """By area: the exchanges that differ in their wording and in nothing else, of what replay.py printed."""
    counts: dict[str, int] = {}
    area, differences = "", list[str]()
    for line in [*text.splitlines(), ""]:
        if line.startswith("      "):
            if not line.startswith("      ... and"):
                differences.append(line.strip())
            continue
        if differences and all(difference.startswith(WORDING) for difference in differences):
            counts[area] = counts.get(area, 0) + 1
        differences = []
        if line.startswith("/"):
            area = Path(line.partition(":")[0]).parent.name
    return counts


if __name__ == "__main__":
    sys.exit(main())
