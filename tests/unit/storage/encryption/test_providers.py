"""What one provider seals it opens, with any of its keys and no other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_core.storage.encryption.providers import AesCbc, AesGcm, Identity, NotOpened, SealingKey, Secretbox

PROVIDERS = (AesCbc, AesGcm, Secretbox)
OLD, NEW = SealingKey("one", b"o" * 32), SealingKey("two", b"n" * 32)
PLACE = b"/registry/core/secrets/a/b"


@pytest.mark.parametrize("kind", PROVIDERS)
@given(value=st.binary(max_size=100))
@settings(max_examples=25, deadline=None)
def test_what_was_sealed_is_opened(kind: type[AesCbc], value: bytes) -> None:
    provider = kind([OLD])
    sealed = provider.seal(PLACE, value)
    assert sealed.startswith(f"k8s:enc:{kind.kind}:v1:one:".encode())
    assert provider.open(PLACE, sealed) == (value, True)


@pytest.mark.parametrize("kind", PROVIDERS)
def test_the_same_value_is_never_sealed_alike_nor_seen(kind: type[AesCbc]) -> None:
    provider = kind([OLD])
    first, second = provider.seal(PLACE, b"secret-value"), provider.seal(PLACE, b"secret-value")
    assert first != second
    assert b"secret-value" not in first


@pytest.mark.parametrize("kind", PROVIDERS)
def test_an_older_key_opens_and_is_told_from_the_first(kind: type[AesCbc]) -> None:
    sealed = kind([OLD]).seal(PLACE, b"x")
    assert kind([NEW, OLD]).open(PLACE, sealed) == (b"x", False)
    assert kind([NEW]).open(PLACE, sealed) is None


@pytest.mark.parametrize("kind", [AesGcm, Secretbox])
def test_another_key_of_the_same_name_or_a_changed_value_is_noticed(kind: type[AesCbc]) -> None:
    sealed = kind([OLD]).seal(PLACE, b"x")
    with pytest.raises(NotOpened):
        kind([SealingKey("one", b"z" * 32)]).open(PLACE, sealed)
    with pytest.raises(NotOpened):
        kind([OLD]).open(PLACE, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(NotOpened):
        kind([OLD]).open(PLACE, sealed[:-20])


def test_of_two_keys_with_one_name_the_one_that_fits_opens() -> None:
    same_name = SealingKey("one", b"z" * 32)
    assert AesGcm([same_name, OLD]).open(PLACE, AesGcm([OLD]).seal(PLACE, b"x")) == (b"x", False)


def test_a_value_moved_to_another_place_is_noticed() -> None:
    sealed = AesGcm([OLD]).seal(PLACE, b"x")
    with pytest.raises(NotOpened):
        AesGcm([OLD]).open(PLACE + b"2", sealed)


def test_identity_leaves_values_alone_and_never_takes_sealed_ones_for_its_own() -> None:
    assert Identity().seal(PLACE, b"x") == b"x"
    assert Identity().open(PLACE, b"x") == (b"x", True)
    assert Identity().open(PLACE, b"k8s:enc:aescbc:v1:one:") is None
