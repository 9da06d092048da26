"""Which certificates of clients are believed: what leads to an authority, and what it may be used for."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from fakes.certificates import Certificate, issue
from kube_core._kit.clock import FakeClock
from kube_core.meta.status import Unauthorized
from kube_core.serving.client_certificates import ClientCertificates

CLOCK = FakeClock()
NOW = CLOCK.now()
DAY = 86_400.0
ROOT = issue("root", ca=True, usages=(), now=NOW)
OTHER = issue("root", ca=True, usages=(), now=NOW)
BETWEEN = issue("between", ROOT, ca=True, usages=(), now=NOW)
BELOW = issue("below", BETWEEN, ca=True, usages=(), now=NOW)
CERTIFICATES = ClientCertificates(ROOT.pem, CLOCK)


def user(*shown: Certificate) -> str | None:
    found = CERTIFICATES.user_of(tuple(each.der for each in shown))
    return found.name if found is not None else None


def test_an_authoritys_certificate_is_a_user_with_groups() -> None:
    found = CERTIFICATES.user_of((issue("alice", ROOT, groups=["a", "b"], now=NOW).der,))
    assert found is not None
    assert (found.name, found.groups) == ("alice", ("a", "b"))


def test_certificates_that_were_sent_along_lead_to_the_authority_in_any_order() -> None:
    own = issue("alice", BELOW, now=NOW)
    assert user(own) is None
    assert user(own, BELOW) is None
    assert user(own, BELOW, BETWEEN) == "alice"
    assert user(own, OTHER, BETWEEN, BELOW) == "alice"


def no_authority() -> list[Certificate]:
    """Whoever was certified to be a client certifies nobody."""
    mallory = issue("mallory", ROOT, now=NOW)
    return [issue("alice", mallory, now=NOW), mallory]


def too_long() -> list[Certificate]:
    high = issue("high", ROOT, ca=True, path_length=0, usages=(), now=NOW)
    low = issue("low", high, ca=True, usages=(), now=NOW)
    return [issue("alice", low, now=NOW), low, high]


def of_servers() -> list[Certificate]:
    servers = issue("servers", ROOT, ca=True, usages=[ExtendedKeyUsageOID.SERVER_AUTH], now=NOW)
    return [issue("alice", servers, now=NOW), servers]


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param([issue("alice", OTHER, now=NOW)], id="another authority of the same name"),
        pytest.param([issue("alice", now=NOW)], id="itself"),
        pytest.param(no_authority(), id="no authority"),
        pytest.param(too_long(), id="too long a path"),
        pytest.param([issue("alice", ROOT, usages=[ExtendedKeyUsageOID.SERVER_AUTH], now=NOW)], id="of a server"),
        pytest.param(of_servers(), id="an authority of servers"),
        pytest.param([issue("alice", ROOT, critical=x509.InhibitAnyPolicy(0), now=NOW)], id="demands more"),
    ],
)
def test_what_does_not_lead_to_the_authority_is_nobody(shown: list[Certificate]) -> None:
    assert user(*shown) is None


def test_an_authority_of_one_level_certifies_clients() -> None:
    of = issue("b", ROOT, ca=True, path_length=0, usages=(), now=NOW)
    assert user(issue("alice", of, now=NOW), of) == "alice"


@pytest.mark.parametrize(("starts", "ends"), [(-30.0, -1.0), (1.0, 30.0)], ids=["expired", "of tomorrow"])
def test_a_certificate_holds_while_all_that_leads_to_it_does(starts: float, ends: float) -> None:
    of = issue("b", ROOT, ca=True, usages=(), now=NOW, starts=starts, ends=ends)
    for shown in ([issue("alice", ROOT, now=NOW, starts=starts, ends=ends)], [issue("alice", of, now=NOW), of]):
        with pytest.raises(Unauthorized):
            user(*shown)


def test_times_are_looked_at_with_every_request() -> None:
    clock = FakeClock()
    certificates = ClientCertificates(ROOT.pem, clock)
    shown = (issue("alice", ROOT, now=NOW, ends=2.0).der,)
    assert certificates.user_of(shown) is not None
    clock.set_now(NOW + 3 * DAY)
    with pytest.raises(Unauthorized):
        certificates.user_of(shown)


def test_many_certificates_of_one_name_cost_no_more_than_a_few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    from kube_core.serving import client_certificates

    monkeypatch.setattr(client_certificates, "_LONGEST", 100)
    alike = [issue("root", ca=True, usages=(), now=NOW) for _ in range(20)]
    search = client_certificates._Search([ROOT.certificate], [each.certificate for each in alike])
    assert search.path(issue("alice", issue("root", ca=True, now=NOW), now=NOW).certificate) is None
    assert search._checks <= client_certificates._MOST_CHECKS


@pytest.mark.parametrize("shown", [(b"rubbish",), (b"",)])
def test_what_is_no_certificate_is_nobody(shown: tuple[bytes, ...]) -> None:
    assert CERTIFICATES.user_of(shown) is None
