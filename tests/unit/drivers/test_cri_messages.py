from __future__ import annotations

import pytest

pytest.importorskip("google.protobuf")

from kube_drivers.runtime.cri.messages import message


def test_a_request_has_the_numbers_that_every_endpoint_reads() -> None:
    assert message("StopContainerRequest")(container_id="a", timeout=5).SerializeToString() == b"\x0a\x01a\x10\x05"


def test_a_nested_message_is_made_of_its_fields() -> None:
    made = message("PodSandboxConfig")(metadata={"name": "pod", "uid": "u"}, labels={"a": "b"})
    assert message("PodSandboxConfig").FromString(made.SerializeToString()) == made
    assert (made.metadata.name, dict(made.labels)) == ("pod", {"a": "b"})
