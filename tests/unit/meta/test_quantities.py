"""Quantities: what they mean, and how they are written back."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta import quantities
from kube_core.meta.quantities import Quantity, QuantityError, canonical, parse

DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("0", "0"),
        ("0.5", "500m"),
        ("1500m", "1500m"),
        ("1000m", "1"),
        ("12000", "12k"),
        ("00.50", "500m"),
        ("+3", "3"),
        ("-1", "-1"),
        (".5", "500m"),
        ("5.", "5"),
        (" 1Gi", "1Gi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1023Ki", "1023Ki"),
        ("1.0001Ki", "1025"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1500e0", "1500"),
        ("5E", "5E"),
        ("0.0000000001", "1n"),
        ("9999999999E", "9223372036854775807"),
        (2, "2"),
        (0.25, "250m"),
        (None, "0"),
    ],
)
def test_text_is_brought_to_its_canonical_form(written: str | float | None, kept: str) -> None:
    assert canonical(written) == kept


@pytest.mark.parametrize("text", ["", "lots", "1Zi", "1 Gi", "1GB", "1..2", "1,5"])
def test_text_of_the_wrong_form_is_refused(text: str) -> None:
    with pytest.raises(QuantityError, match="must match the regular expression"):
        parse(text)


def test_unknown_suffix_is_refused_as_such() -> None:
    with pytest.raises(QuantityError, match="suffix"):
        parse("1kk")


def test_amounts_compare_by_value_across_notations() -> None:
    assert parse("1Ki") == parse("1024") == parse("1.024e3")
    assert parse("1G") < parse("1Gi")
    assert hash(parse("1k")) == hash(parse("1000"))


def test_fractions_are_rounded_up_to_whole_and_milli_units() -> None:
    assert (parse("1500m").value, parse("1n").value, parse("-1500m").value) == (2, 1, -1)
    assert parse("1u").milli_value == 1
    assert parse("2").is_whole
    assert not parse("2500m").is_whole


def test_sum_takes_the_notation_of_the_first_amount() -> None:
    assert str(parse("512Mi") + parse("512M")) == "1024288Ki"
    assert str(parse("0") + parse("1Gi")) == "1Gi"
    assert str(quantities.total([parse("512Mi"), parse("512Mi")])) == "1Gi"


@given(st.integers(-(10**12), 10**12), st.integers(0, 6), st.sampled_from(sorted(DECIMAL | BINARY)))
def test_parsing_agrees_with_exact_arithmetic(digits: int, places: int, suffix: str) -> None:
    exact = Fraction(digits, 10**places)
    exact *= Fraction(10) ** DECIMAL[suffix] if suffix in DECIMAL else 2 ** BINARY[suffix]
    text = f"{'-' if digits < 0 else ''}{abs(digits) // 10**places}.{abs(digits) % 10**places:0{places or 1}d}{suffix}"
    nano = exact * 10**9
    rounded = -(-abs(nano).numerator // abs(nano).denominator)
    limit = (2**63 - 1) * 10**9
    assert abs(parse(text).nano) == min(rounded, limit)


@given(st.integers(-(2**80), 2**80), st.sampled_from(["decimal", "exponent"]))
def test_canonical_form_keeps_the_exact_value_and_is_stable(nano: int, notation: str) -> None:
    amount = Quantity(nano, notation)  # type: ignore[arg-type]
    assert parse(str(amount)) == amount
    assert canonical(str(amount)) == str(amount)


@given(st.integers(0, 2**62))
def test_binary_form_keeps_whole_bytes(value: int) -> None:
    amount = Quantity(value * 10**9, "binary")
    assert parse(str(amount)).value == value
    if str(amount).endswith("i"):  # without a suffix nothing tells the notation
        assert canonical(str(amount)) == str(amount)
