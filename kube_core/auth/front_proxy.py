"""The front proxy: the identity by which the server speaks to backends of the aggregation layer in its users' names.

An authority of its own signs one client certificate; who holds that is believed what it says in the `X-Remote-…`
headers. What backends need to know of it is in the ConfigMap `extension-apiserver-authentication`, by the names of
upstream's `--requestheader-…` flags. Kept in the state directory (`front-proxy-ca.crt` and `.key`), so that backends go
on trusting a server that was started again.

Everything is made when it is first asked for: writing keys takes as long as the disk does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import orjson

from kube_core._kit.clock import Clock
from kube_core.abc.transport import User
from kube_core.auth.certificates import Authority, KeyPair, load_or_create

__all__ = ["FrontProxy", "remote_headers"]

_NAME = "front-proxy-client"
_EXTRA = "X-Remote-Extra-"
#: What may stand in a header's name as it is.
_KEY_SAFE = "!#$&'*+-.^_`|~"


class FrontProxy:
    """The identity of one server."""

    def __init__(self, clock: Clock, directory: Path | None = None) -> None:
        self._clock = clock
        self._directory = directory

    def share(self, other: FrontProxy) -> None:
        """Be the same identity as `other`, as far as that is made."""
        made = vars(other)
        vars(self).update({name: made[name] for name in ("authority", "certificate") if name in made})

    @property
    def is_kept(self) -> bool:
        """Whether making or reading it takes the disk."""
        return self._directory is not None

    @functools.cached_property
    def authority(self) -> Authority:
        """Raises OSError, and ValueError for files that are damaged."""
        now = self._clock.now()
        if self._directory is None:
            return Authority.create("front-proxy-ca", now=now)
        return load_or_create(self._directory, "front-proxy-ca", now=now, file_name="front-proxy-ca")

    @functools.cached_property
    def certificate(self) -> KeyPair:
        return self.authority.issue_client(_NAME, now=self._clock.now())

    def configuration(self) -> Mapping[str, str]:
        """The keys of `extension-apiserver-authentication` that say how to believe it."""

        def listed(text: str) -> str:
            return orjson.dumps([text]).decode()

        return {
            "requestheader-allowed-names": listed(_NAME),
            "requestheader-client-ca-file": self.authority.certificate.decode(),
            "requestheader-extra-headers-prefix": listed(_EXTRA),
            "requestheader-group-headers": listed("X-Remote-Group"),
            "requestheader-uid-headers": listed("X-Remote-Uid"),
            "requestheader-username-headers": listed("X-Remote-User"),
        }


def remote_headers(user: User) -> Iterator[tuple[str, str]]:
    """The headers that say who asks."""
    yield "X-Remote-User", user.name
    if user.uid:
        yield "X-Remote-Uid", user.uid
    for group in user.groups:
        yield "X-Remote-Group", group
    for key, values in user.extra.items():
        for value in values:
            yield _EXTRA + quote(key, safe=_KEY_SAFE), value
