"""The static token file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_core.abc.transport import User
from kube_core.api.config_files import ConfigFileError
from kube_core.auth.static_tokens import read_token_file


def test_tokens_and_their_users_are_read(tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text('# ours\nabc,ann,7,"crew, ops"\n\ndef,bob,8\n')
    assert read_token_file(file) == {"abc": User("ann", ("crew", "ops"), "7"), "def": User("bob", (), "8")}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("secret-token,ann\n", "record 1: 3 columns are needed"),
        (",ann,7\n", "record 1: token: required"),
        ("secret-token,,7\n", "record 1: user name: required"),
        ("secret-token,ann,7\nsecret-token,bob,8\n", "record 2: token: already that of 'ann'"),
    ],
)
def test_a_mistake_is_told_without_the_token(tmp_path: Path, text: str, wanted: str) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text(text)
    with pytest.raises(ConfigFileError, match=wanted) as caught:
        read_token_file(file)
    assert "secret-token" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="No such file"):
        read_token_file(tmp_path / "none.csv")
