"""A node's own client certificate, renewed before its time is over, as upstream's kubelet renews its.

Somewhere between seven and nine tenths of a certificate's time the node asks the signer
`kubernetes.io/kube-apiserver-client-kubelet` for the next one, with a new key. The cluster approves that by itself
where nodes may ask for `certificatesigningrequests/selfnodeclient` (`kube-core node-kubeconfig` sees to it); what is
refused, or not answered in a quarter of an hour, is asked for again later. The new one is kept in a file with its key,
which the client reads again by itself, and which stands before the kubeconfig's when the node starts anew. An expired
certificate can ask for nothing: then the node needs a new kubeconfig.

Called by `process.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import attrs

from kube_core._kit.certificates import make_request, read_certificate, write_file
from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.client.certificates import KUBELET_CLIENT, RequestRefused, obtain
from kube_core.client.connection import ClientCertificate, Connection
from kube_core.meta.status import StatusError

if TYPE_CHECKING:
    from kube_core.client.client import ApiClient

__all__ = ["keep_renewed", "renewal_moment", "with_renewed"]

_log = get_logger("kube_core.node")
#: Seconds.
_AGAIN, _PATIENCE = 60.0, 900.0


def with_renewed(connection: Connection, name: str, place: Path, now: float) -> Connection:
    """The connection with the certificate that the node of this name keeps, where it has one that is still good.

    Who connects with something else than a node's certificate goes on with that. Blocking.
    """
    if not _is_nodes(connection, name):
        return connection
    known = connection.client_certificate
    try:
        content = place.read_bytes()
        kept = read_certificate(content)
        if kept.name != f"system:node:{name}" or kept.end <= now:
            return connection
        if known is not None and read_certificate(known.certificate).end > kept.end:
            return connection  # somebody made a new kubeconfig
    except FileNotFoundError:
        if known is None:
            return connection
        content = known.certificate.rstrip() + b"\n" + known.key
        _keep(place, content)
    except ValueError:
        return connection
    both = str(place)
    return attrs.evolve(
        connection, client_certificate=ClientCertificate(content, content), client_certificate_files=(both, both)
    )


def renewal_moment(certificate: bytes, random: Random) -> float:
    """When the next one is to be asked for."""
    read = read_certificate(certificate)
    return read.begin + (read.end - read.begin) * random.uniform(0.7, 0.9)


async def keep_renewed(client: ApiClient, name: str, place: Path, *, clock: Clock, random: Random) -> None:
    """Renew what is at `place`, time after time, until cancelled; returns at once where nothing is there."""
    try:
        with clock.hold("node: read its certificate"):
            present = await anyio.to_thread.run_sync(place.read_bytes)
    except FileNotFoundError:
        return
    moment = renewal_moment(present, random)
    while True:
        await clock.sleep(max(moment - clock.now(), 0.0))
        request, key = make_request(f"system:node:{name}", ["system:nodes"])
        try:
            async with clock.timeout(_PATIENCE):
                pair = await obtain(
                    client,
                    prefix="csr-",
                    signer=KUBELET_CLIENT,
                    request=request,
                    key=key,
                    usages=["digital signature", "client auth"],
                )
        except (RequestRefused, StatusError, TimeoutError) as error:
            why = str(error) or "nobody has answered the request"
            _log.warning("the node's certificate is not renewed yet", error=why)
            moment = clock.now() + random.jitter(_AGAIN, 1.0)
        else:
            present = pair.certificate.rstrip() + b"\n" + pair.key
            with clock.hold("node: keep a certificate"):
                await anyio.to_thread.run_sync(_keep, place, present)
            moment = renewal_moment(present, random)


def _keep(place: Path, content: bytes) -> None:
    write_file(place, content, mode=0o600)


def _is_nodes(connection: Connection, name: str) -> bool:
    if connection.client_certificate is None:
        return False
    try:
        return read_certificate(connection.client_certificate.certificate).name == f"system:node:{name}"
    except ValueError:
        return False
