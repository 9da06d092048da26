"""Which header fields stay with their connection."""

from __future__ import annotations

import pytest

from kube_core._kit.hop_by_hop import hop_by_hop


@pytest.mark.parametrize(
    ("connection", "named"),
    [([], set()), (["close"], {"close"}), (["Keep-Alive, X-Mine ", "x-other"], {"x-mine", "x-other"})],
)
def test_those_of_the_standard_stay_and_those_that_connection_names(connection: list[str], named: set[str]) -> None:
    found = hop_by_hop(connection)
    assert {"connection", "transfer-encoding", "upgrade", "te", "keep-alive"} | named <= found
    assert not {"host", "authorization", "content-type"} & found
