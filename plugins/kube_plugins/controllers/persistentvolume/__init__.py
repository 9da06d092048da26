"""Persistent volumes: the binder with dynamic provisioning, the expander, and the two protection controllers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kube_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from kube_core.control.controller import ControllerSpec

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    # Only here: an API server without controllers loads this module, too.
    from kube_core.control.controller import ControllerSpec
    from kube_plugins.controllers.persistentvolume.controller import PersistentVolumeBinder
    from kube_plugins.controllers.persistentvolume.expanding import PersistentVolumeExpander
    from kube_plugins.controllers.persistentvolume.protection import ClaimProtection, VolumeProtection

    return [
        ControllerSpec(
            "persistentvolume-binder-controller",
            PersistentVolumeBinder,
            needs=("volume",),
            account="persistent-volume-binder",
        ),
        ControllerSpec(
            "persistentvolume-expander-controller",
            PersistentVolumeExpander,
            needs=("volume",),
            account="expand-controller",
        ),
        ControllerSpec(
            "persistentvolumeclaim-protection-controller", ClaimProtection, account="pvc-protection-controller"
        ),
        ControllerSpec("persistentvolume-protection-controller", VolumeProtection, account="pv-protection-controller"),
    ]
