"""`kube-core node-kubeconfig`: credentials for a node, made with those of an administrator.

The key is made here. The certificate comes by a CertificateSigningRequest for `system:node:NAME`, which the
administrator approves at once, so this works against any cluster that signs client certificates of kubelets. Nodes
renew theirs by themselves later, so where it may it also lets the group `system:nodes` do that.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kube_core._kit.certificates import KeyPair
    from kube_core.client.client import ApiClient
    from kube_core.client.connection import Connection

__all__ = ["run"]

#: Seconds in which the certificate has to come.
_PATIENCE = 30.0
_RENEWING = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"


def run(name: str, output: str, *, kubeconfig: str | None, context: str) -> str | None:
    """Write it to a file, or to standard output for `-`; returns what went wrong, in one line."""
    from kube_core.client.certificates import RequestRefused
    from kube_core.client.kubeconfig import KubeconfigError, load_connection
    from kube_core.meta.status import StatusError

    try:
        connection = load_connection(kubeconfig, context)
        _write(output, _rendered(_kubeconfig(name, connection, asyncio.run(_obtain(name, connection)))))
    except (KubeconfigError, RequestRefused) as error:
        return str(error)
    except StatusError as error:
        return error.message
    except TimeoutError:
        return f"nobody signed the certificate of node {name!r} within {_PATIENCE:.0f} s"
    except OSError as error:
        return f"{error.filename or 'system'}: {error.strerror or error}"
    return None


async def _obtain(name: str, connection: Connection) -> KeyPair:
    from kube_core._kit.certificates import make_request
    from kube_core.client.certificates import KUBELET_CLIENT, obtain
    from kube_core.client.client import ApiClient
    from kube_core.client.http import HttpTransport

    request, key = make_request(f"system:node:{name}", ["system:nodes"])
    async with ApiClient(HttpTransport(connection)) as client, client.clock.timeout(_PATIENCE):
        await _let_nodes_renew(client)
        return await obtain(
            client,
            prefix=f"node-csr-{name}-",
            signer=KUBELET_CLIENT,
            request=request,
            key=key,
            usages=["digital signature", "client auth"],
            approve=True,
        )


async def _let_nodes_renew(client: ApiClient) -> None:
    """Have the cluster approve what nodes ask for to renew their own certificates, as kubeadm has it."""
    from kube_core.api import resources
    from kube_core.meta.status import StatusError

    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "ClusterRole", "name": _RENEWING}
    subject = {"apiGroup": group, "kind": "Group", "name": "system:nodes"}
    binding = {"metadata": {"name": "kube-core:node-autoapprove-certificate-rotation"}, "roleRef": role}
    # It is there already, or is somebody else's to make: the certificate of now does not depend on it.
    with contextlib.suppress(StatusError):
        await client.create(resources.CLUSTER_ROLE_BINDINGS, {**binding, "subjects": [subject]})


def _kubeconfig(name: str, connection: Connection, pair: KeyPair) -> dict[str, Any]:
    """Whoever has it is the node, and no administrator."""
    cluster: dict[str, Any] = {"server": connection.server}
    if connection.certificate_authority:
        cluster["certificate-authority-data"] = _inline(connection.certificate_authority)
    if connection.skip_tls_verify:
        cluster["insecure-skip-tls-verify"] = True
    if connection.tls_server_name:
        cluster["tls-server-name"] = connection.tls_server_name
    user = {"client-certificate-data": _inline(pair.certificate), "client-key-data": _inline(pair.key)}
    context = f"system:node:{name}@kubernetes"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kubernetes", "cluster": cluster}],
        "users": [{"name": f"system:node:{name}", "user": user}],
        "contexts": [{"name": context, "context": {"cluster": "kubernetes", "user": f"system:node:{name}"}}],
        "current-context": context,
    }


def _inline(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _rendered(document: dict[str, Any]) -> bytes:
    import orjson

    # JSON is YAML, and every reader of kubeconfigs takes it.
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def _write(output: str, content: bytes) -> None:
    if output == "-":
        sys.stdout.write(content.decode())
        return
    from kube_core._kit.certificates import write_file

    path = Path(os.path.abspath(output))
    write_file(path, content, mode=0o600)
