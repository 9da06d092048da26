"""`kube-core run`: the controllers of modules and files, against the cluster of a kubeconfig, until told to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["run"]


def run(programs: Sequence[str], given: Mapping[str, Any], times: Mapping[str, float], *, log_level: str) -> str | None:
    """`given` are options of `RunOptions`, `times` those of `ElectionTimes`. Returns what went wrong, in one line."""
    from kube_core._kit import logs
    from kube_core.client.kubeconfig import KubeconfigError
    from kube_core.control.election import ElectionTimes, LeadershipLost
    from kube_core.meta.status import StatusError
    from kube_core.operators import running
    from kube_core.operators.discovery import ProgramError

    logs.configure(log_level)
    try:
        running.run(*programs, election_times=ElectionTimes(**times), **given)
    except (ProgramError, KubeconfigError, LeadershipLost, ValueError) as error:
        return str(error)
    except StatusError as error:
        return error.message
    return None
