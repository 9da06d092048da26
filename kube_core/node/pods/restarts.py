"""Whether a container that ended is started again: its own rules by exit code, its own policy, the pod's. Pure.

As upstream documents under "Container restarts": the first rule that matches decides, then the container's
`restartPolicy`, then the pod's. A rule may ask for all of the pod's containers (`RestartAllContainers`).
"""

from __future__ import annotations

from collections.abc import Iterator

from kube_core.meta.documents import Document

__all__ = ["every_container", "find_container", "is_sidecar", "may_restart_all", "restarts", "restarts_all"]


def is_sidecar(container: Document) -> bool:
    """Of an init container: whether it goes on beside the others."""
    return container.get("restartPolicy") == "Always"


def every_container(pod: Document) -> Iterator[Document]:
    """Init containers, app containers, ephemeral containers."""
    spec = pod["spec"]
    yield from spec.get("initContainers") or ()
    yield from spec["containers"]
    yield from spec.get("ephemeralContainers") or ()


def find_container(pod: Document, name: str) -> Document | None:
    return next((each for each in every_container(pod) if each["name"] == name), None)


def restarts(pod: Document, container: Document, exit_code: int) -> bool:
    """Whether a container that ended so is started again."""
    policy = container.get("restartPolicy")
    if policy and _matching(container, exit_code):
        return True
    policy = policy or pod["spec"].get("restartPolicy") or "Always"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def restarts_all(container: Document, exit_code: int) -> bool:
    """Whether all containers of the pod are started anew because one ended so."""
    return bool(container.get("restartPolicy")) and _matching(container, exit_code) == "RestartAllContainers"


def may_restart_all(pod: Document) -> bool:
    """Whether any container has a rule that asks for all."""
    return any(
        rule.get("action") == "RestartAllContainers"
        for container in every_container(pod)
        for rule in container.get("restartPolicyRules") or ()
    )


def _matching(container: Document, exit_code: int) -> str:
    """The action of the first rule that matches; "" where none does."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes")
        if codes and (exit_code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
            return str(rule.get("action") or "")
    return ""
