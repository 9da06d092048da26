"""What CRI asks of the runtime as a whole: its version, its condition, its settings."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

import orjson

from kube_core._kit.logs import get_logger
from kube_core.abc.network import Network
from kube_core.abc.runtime import Runtime
from kube_drivers.runtime.cri.messages import message

__all__ = ["Information"]

_log = get_logger("kube_core.cri")
#: Of the API of kubelets, which has been the same ever since; and of CRI.
_API: Final = "0.1.0"
_CRI: Final = "v1"


class Information:
    """A part of the server; see the package."""

    def __init__(self, runtime: Runtime, network: Network) -> None:
        self._runtime = runtime
        self._network = network

    async def version(self, request: Any) -> Any:
        return message("VersionResponse")(
            version=_API,
            runtime_name="kube-core",
            runtime_version=version("kube-core"),
            runtime_api_version=_CRI,
        )

    async def status(self, request: Any) -> Any:
        """The network is ready for as long as there is anyone who answers: it is started before."""
        problems = "; ".join(self._runtime.problems())
        about = {
            "runtime": self._runtime.name,
            "podCIDR": self._network.pod_cidr,
            "stateDirectory": self._runtime.state_directory,
        }
        return message("StatusResponse")(
            status={
                "conditions": [
                    {
                        "type": "RuntimeReady",
                        "status": not problems,
                        "reason": "RuntimeNotReady" if problems else "",
                        "message": problems,
                    },
                    {"type": "NetworkReady", "status": True},
                ]
            },
            info={"config": orjson.dumps(about).decode()} if request.verbose else {},
            runtime_handlers=[
                {
                    "name": each.name,
                    "features": {
                        "recursive_read_only_mounts": each.recursive_read_only_mounts,
                        "user_namespaces": each.user_namespaces,
                    },
                }
                for each in (self._runtime.handlers() if self._runtime.capabilities.own_root else ())
            ],
            features={"supplemental_groups_policy": self._runtime.capabilities.supplemental_groups_policy},
        )

    async def runtime_config(self, request: Any) -> Any:
        return message("RuntimeConfigResponse")(linux={"cgroup_driver": "CGROUPFS"})

    async def update_runtime_config(self, request: Any) -> Any:
        """A kubelet tells its node's range of addresses; the network has the one that it was started with."""
        told = request.runtime_config.network_config.pod_cidr
        if told and told != self._network.pod_cidr:
            _log.info("a kubelet names another range of addresses", asked=told, used=self._network.pod_cidr)
        return message("UpdateRuntimeConfigResponse")()
