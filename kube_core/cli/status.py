"""`kube-core status`: the clusters whose state is kept, and which of them run."""

from __future__ import annotations

from kube_core.cli import memory
from kube_core.cli.state import ClusterState, StateError, state_root

__all__ = ["run"]


def run(name: str | None) -> str | None:
    """Returns what went wrong, in one line."""
    root = state_root()
    in_memory = memory.names()
    if name is not None:
        names = [] if name in in_memory else [name]
    else:
        names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    shown = [each for each in in_memory if name in (None, each)]
    if not names and not shown:
        print("no clusters")
        return None
    rows = [("NAME", "STATUS", "NODES", "RUNTIME", "SERVER")]
    rows += [(each, f"Running in memory (process {memory.owner(each)})", "", "", "") for each in shown]
    for each in names:
        try:
            state = ClusterState.of(each)
            if not state.directory.exists():
                return f"there is no cluster {each!r}"
            saved = state.load()
        except StateError as error:
            if name is not None:
                return str(error)
            rows.append((each, f"Damaged: {error}", "", "", ""))
            continue
        pid = state.running()
        address = f"https://{saved.get('bind', '')}:{saved.get('port', '')}" if saved else ""
        status = f"Running (process {pid})" if pid else "Stopped"
        rows.append((each, status, str(saved.get("nodes", "")), str(saved.get("runtime", "")), address))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return None
