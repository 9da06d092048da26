"""Selectors of devices, as they are judged when a claim or a class is written."""

from __future__ import annotations

import pytest

from kube_core.meta.fields import Path
from kube_core.registry.kinds.devices.selectors import selectors


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("device.driver == 'gpu.example.org'", ""),
        ("device.attributes['gpu.example.org'].model == 'a'", ""),
        ("device.capacity['gpu.example.org'].memory.compareTo(quantity('1Gi')) >= 0", ""),
        ("device.attributes['gpu.example.org'].healthy", ""),
        ("1", "must evaluate to bool or the unknown type, not int"),
        ("device.nope", "undefined field 'nope'"),
        ("other.driver == 'x'", "undeclared reference to 'other'"),
        ("device.driver ==", "Syntax error"),
        ("", "compilation failed: ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>'"),
    ],
)
def test_an_expression_is_judged_by_what_a_device_is(expression: str, said: str) -> None:
    errors = list(selectors(Path("selectors"), [{"cel": {"expression": expression}}]))
    assert all(each.field == "selectors[0].cel.expression" for each in errors)
    assert [said in str(each) for each in errors] == ([True] if said else [])
