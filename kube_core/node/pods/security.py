"""The security context that a container runs with, from the pod's and its own. Pure.

What the container's context says stands before what the pod's says, field by field; seccomp and AppArmor likewise, as
upstream documents under "Configure a Security Context for a Pod or Container". Whether an image may run as root is
checked here, because only here the image's own user is known.
"""

from __future__ import annotations

from typing import Any

from kube_core.abc.security import DEFAULT_SECURITY, SeccompProfile, SecurityContext
from kube_core.meta.documents import Document, name_of, namespace_of, uid_of
from kube_core.node.environment import ConfigurationError

__all__ = ["container_security", "sandbox_security"]

#: What a pod's context says for its containers.
_OF_POD = ("runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "appArmorProfile")


def container_security(
    pod: Document, container: Document, *, image_user: str | None = None, seccomp_root: str = ""
) -> SecurityContext:
    """What a container runs with. `image_user`: its image's; None: not known. Raises `ConfigurationError`."""
    of_pod = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    context: dict[str, Any] = {key: of_pod[key] for key in _OF_POD if of_pod.get(key) is not None}
    context |= {key: value for key, value in own.items() if value is not None}
    if not context and not of_pod:
        return DEFAULT_SECURITY
    if context.get("runAsNonRoot"):
        _check_user(pod, container, context.get("runAsUser"), image_user)
    capabilities = context.get("capabilities") or {}
    return SecurityContext(
        user=context.get("runAsUser"),
        group=context.get("runAsGroup"),
        supplemental_groups=_groups(of_pod),
        supplemental_groups_policy=of_pod.get("supplementalGroupsPolicy") or "Merge",
        privileged=bool(context.get("privileged")),
        read_only_root=bool(context.get("readOnlyRootFilesystem")),
        add_capabilities=tuple(_bare(each) for each in capabilities.get("add") or ()),
        drop_capabilities=tuple(_bare(each) for each in capabilities.get("drop") or ()),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
        seccomp=_seccomp(context.get("seccompProfile"), seccomp_root),
        apparmor=_apparmor(context.get("appArmorProfile")),
        proc_mount=context.get("procMount") or "Default",
    )


def sandbox_security(pod: Document) -> SecurityContext:
    """What a pod's sandbox runs with."""
    context = pod["spec"].get("securityContext") or {}
    containers = (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
    return SecurityContext(
        user=context.get("runAsUser"),
        group=context.get("runAsGroup"),
        supplemental_groups=_groups(context),
        supplemental_groups_policy=context.get("supplementalGroupsPolicy") or "Merge",
        privileged=any((each.get("securityContext") or {}).get("privileged") for each in containers),
        seccomp=SeccompProfile("RuntimeDefault"),
    )


def _groups(of_pod: Document) -> tuple[int, ...]:
    shared = of_pod.get("fsGroup")
    return (*((shared,) if shared is not None else ()), *(of_pod.get("supplementalGroups") or ()))


def _bare(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")


def _seccomp(profile: Document | None, root: str) -> SeccompProfile:
    kind = (profile or {}).get("type") or "Unconfined"
    if kind != "Localhost":
        return SeccompProfile("RuntimeDefault" if kind == "RuntimeDefault" else "Unconfined")
    path = (profile or {}).get("localhostProfile")
    if not path:
        raise ConfigurationError("localhostProfile must be set if seccompProfile type is Localhost.")
    return SeccompProfile("Localhost", f"{root}/{path}")


def _apparmor(profile: Document | None) -> str:
    kind = (profile or {}).get("type")
    if kind == "Localhost":
        return str((profile or {}).get("localhostProfile") or "")
    return {"RuntimeDefault": "runtime/default", "Unconfined": "unconfined"}.get(str(kind), "")


def _check_user(pod: Document, container: Document, user: int | None, image_user: str | None) -> None:
    """Raises where a container that must not be root would be, or might be."""
    where = f'(pod: "{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})", container: {container["name"]})'
    if user is not None:
        if user == 0:
            raise ConfigurationError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image_user is None:
        return
    name = image_user.partition(":")[0]
    if name and not name.isdigit():
        raise ConfigurationError(
            f"container has runAsNonRoot and image has non-numeric user ({name}), "
            f"cannot verify user is non-root {where}"
        )
    if not name or int(name) == 0:
        raise ConfigurationError(f"container has runAsNonRoot and image will run as root {where}")
