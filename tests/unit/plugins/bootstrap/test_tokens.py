"""What bootstrap tokens say of themselves, and what is signed with them."""

from __future__ import annotations

import base64
import math
import string
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import NOW, metadata
from kube_core.meta.times import format_time
from kube_plugins.controllers.bootstrap.tokens import expiry, is_token, sign, signed, signing_token

LETTERS = string.ascii_lowercase + string.digits
IDENTITIES = st.text(LETTERS, min_size=6, max_size=6)


def token(name: str = "bootstrap-token-abcdef", kind: str = "bootstrap.kubernetes.io/token", **data: str) -> Any:
    told = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-signing": "true",
        **{key.replace("_", "-"): value for key, value in data.items()},
    }
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in told.items() if value}
    return {"metadata": metadata(name, namespace="kube-system"), "type": kind, "data": encoded}


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (token(), ("abcdef", "0123456789abcdef")),
        (token(expiration=format_time(NOW + 1)), ("abcdef", "0123456789abcdef")),
        (token(expiration=format_time(NOW)), None),
        (token(expiration="tomorrow"), None),
        (token(usage_bootstrap_signing="yes"), None),
        (token(usage_bootstrap_signing=""), None),
        (token(token_secret=""), None),
        (token(token_id="ghijkl"), None),
        (token("bootstrap-token-abcdefg"), None),
        (token("token-abcdef"), None),
    ],
)
def test_who_may_sign(secret: Any, expected: tuple[str, str] | None) -> None:
    assert signing_token(secret, NOW) == expected


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (token(), math.inf),
        (token(expiration=format_time(NOW)), NOW),
        (token(expiration="tomorrow"), -math.inf),
    ],
)
def test_when_a_token_runs_out(secret: Any, expected: float) -> None:
    assert expiry(secret) == expected


def test_what_is_a_token() -> None:
    assert is_token(token())
    assert not is_token(token(kind="Opaque"))
    assert not is_token({**token(), "metadata": metadata("bootstrap-token-abcdef")})


def test_a_signature_names_the_token_and_leaves_out_what_it_signs() -> None:
    header, content, signature = sign("hello", "abcdef", "0123456789abcdef").split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"HS256","kid":"abcdef"}'
    assert content == ""
    assert len(signature) == 43


@given(content=st.text(), identity=IDENTITIES, password=st.text(LETTERS, min_size=16, max_size=16))
def test_whoever_knows_the_token_can_tell_that_a_signature_is_right(content: str, identity: str, password: str) -> None:
    header, _, signature = sign(content, identity, password).split(".")
    whole = f"{header}.{base64.urlsafe_b64encode(content.encode()).rstrip(b'=').decode()}.{signature}"
    assert jwt.PyJWS().decode(whole, _long(password), algorithms=["HS256"]) == content.encode()


@given(
    data=st.dictionaries(st.sampled_from(["kubeconfig", "other", "jws-kubeconfig-aaaaaa", "jws-other"]), st.text()),
    tokens=st.dictionaries(IDENTITIES, st.text(LETTERS, min_size=1)),
)
def test_there_is_one_signature_for_each_token_and_all_else_stays(data: dict[str, str], tokens: dict[str, str]) -> None:
    made = signed(data, tokens.items())
    if "kubeconfig" not in data:
        assert made == data
        return
    signatures = {name for name in made if name.startswith("jws-kubeconfig-")}
    assert signatures == {f"jws-kubeconfig-{identity}" for identity in tokens}
    rest = {name: value for name, value in data.items() if not name.startswith("jws-kubeconfig-")}
    assert {name: value for name, value in made.items() if name not in signatures} == rest
    assert signed(made, tokens.items()) == made


def _long(password: str) -> bytes:
    """The same key to HMAC, as long as the library wants one to be."""
    return password.encode().ljust(64, b"\0")
