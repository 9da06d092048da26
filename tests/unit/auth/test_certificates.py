"""The cluster's authority: what it issues, how it is kept, and what becomes of half a state directory."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from kube_core.auth.certificates import Authority, KeyPair, load_or_create, subject_of, write_file

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("test", now=NOW)


def parsed(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate)


def test_what_is_issued_is_signed_by_the_authority(authority: Authority) -> None:
    root = x509.load_pem_x509_certificate(authority.certificate)
    root.verify_directly_issued_by(root)
    for pair in (
        authority.issue_server("server", ["localhost"], now=NOW),
        authority.issue_client("alice", ["g"], now=NOW),
    ):
        parsed(pair).verify_directly_issued_by(root)
        key = load_pem_private_key(pair.key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.public_key() == parsed(pair).public_key()
    with pytest.raises(ValueError, match="issuer"):
        parsed(authority.issue_client("a", now=NOW)).verify_directly_issued_by(
            x509.load_pem_x509_certificate(Authority.create("other", now=NOW).certificate)
        )


def test_a_client_certificate_says_user_and_groups(authority: Authority) -> None:
    pair = authority.issue_client("alice", ["developers", "admins"], now=NOW)
    assert subject_of(parsed(pair).public_bytes(Encoding.DER)) == ("alice", ("developers", "admins"))
    assert subject_of(parsed(authority.issue_client("bob", now=NOW)).public_bytes(Encoding.DER)) == ("bob", ())


def test_a_server_certificate_names_its_hosts_and_addresses_once_each(authority: Authority) -> None:
    hosts = ["kubernetes", "10.96.0.1", "::1", "kubernetes", "127.0.0.1"]
    names = parsed(authority.issue_server("server", hosts, now=NOW)).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert sorted(map(str, names.value.get_values_for_type(x509.IPAddress))) == ["10.96.0.1", "127.0.0.1", "::1"]


def test_servers_and_clients_may_not_stand_in_for_each_other_or_issue(authority: Authority) -> None:
    for pair, usage in (
        (authority.issue_server("s", ["x"], now=NOW), ExtendedKeyUsageOID.SERVER_AUTH),
        (authority.issue_client("c", now=NOW), ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        extensions = parsed(pair).extensions
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_times_follow_the_clock_that_is_given(authority: Authority) -> None:
    certificate = parsed(authority.issue_client("c", now=NOW))
    assert certificate.not_valid_before_utc.timestamp() == NOW - 300
    assert certificate.not_valid_after_utc.timestamp() == NOW - 300 + 365 * 86400


def test_an_authority_is_kept_and_found_again(tmp_path: Path) -> None:
    first = load_or_create(tmp_path, "test", now=NOW)
    again = load_or_create(tmp_path, "test", now=NOW + 1)
    assert again.pair == first.pair
    parsed(again.issue_client("c", now=NOW)).verify_directly_issued_by(
        x509.load_pem_x509_certificate(first.certificate)
    )


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    load_or_create(tmp_path, "test", now=NOW)
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca.crt").stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.crt", "ca.key"]


def test_a_start_that_was_interrupted_begins_anew(tmp_path: Path) -> None:
    # The key is written first: one alone was never used.
    write_file(tmp_path / "ca.key", b"whatever", mode=0o600)
    authority = load_or_create(tmp_path, "test", now=NOW)
    assert load_or_create(tmp_path, "test", now=NOW).pair == authority.pair


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
@pytest.mark.parametrize("left", [b"", b"-----BEGIN CERTIFICATE-----\nMIIB", b"\0" * 40])
def test_a_damaged_authority_is_an_error_and_is_not_replaced(tmp_path: Path, name: str, left: bytes) -> None:
    load_or_create(tmp_path, "test", now=NOW)
    (tmp_path / name).write_bytes(left)
    with pytest.raises(ValueError):  # noqa: PT011 (the words are the library's)
        load_or_create(tmp_path, "test", now=NOW)
    assert (tmp_path / name).read_bytes() == left


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "a", b"old", mode=0o600)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        write_file(tmp_path / "a", b"new", mode=0o600)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}
