"""Field sets: the algebra, on FieldsV1 as it is stored."""

import json
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta.documents import freeze
from kube_core.registry.apply import fieldsets
from kube_core.registry.apply.fieldsets import Fields

Path = tuple[str, ...]

ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
PATHS = st.sets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=8)


def tree_of(paths: Iterable[Path]) -> Fields:
    tree: Fields = {}
    for path in paths:
        inner: Fields = {}
        for element in reversed(path):
            inner = {element: inner}
        tree = fieldsets.union(tree, inner)
    return tree


def paths_of(tree: Fields) -> set[Path]:
    return set(fieldsets.paths(tree))


@given(PATHS)
def test_tree_holds_exactly_the_paths_it_was_made_of(paths: set[Path]) -> None:
    assert paths_of(tree_of(paths)) == paths


@given(PATHS, PATHS)
def test_union_holds_what_is_in_either(left: set[Path], right: set[Path]) -> None:
    assert paths_of(fieldsets.union(tree_of(left), tree_of(right))) == left | right


@given(PATHS, PATHS)
def test_difference_is_path_by_path(left: set[Path], right: set[Path]) -> None:
    assert paths_of(fieldsets.difference(tree_of(left), tree_of(right))) == left - right


@given(PATHS, PATHS)
def test_intersection_holds_what_is_in_both(left: set[Path], right: set[Path]) -> None:
    assert paths_of(fieldsets.intersection(tree_of(left), tree_of(right))) == left & right


@given(PATHS, PATHS)
def test_one_covers_another_that_has_nothing_else(left: set[Path], right: set[Path]) -> None:
    assert fieldsets.covers(tree_of(left), tree_of(right)) == (right <= left)
    assert fieldsets.covers(tree_of(left | right), tree_of(right))


@given(PATHS, PATHS)
def test_without_subtrees_drops_what_lies_below_too(left: set[Path], right: set[Path]) -> None:
    kept = {path for path in left if not any(path[: len(cut)] == cut for cut in right)}
    assert paths_of(fieldsets.without_subtrees(tree_of(left), tree_of(right))) == kept


@given(PATHS, PATHS)
def test_operations_change_no_operand(left: set[Path], right: set[Path]) -> None:
    frozen_left, frozen_right = freeze(tree_of(left)), freeze(tree_of(right))
    fieldsets.union(frozen_left, frozen_right)
    fieldsets.difference(frozen_left, frozen_right)
    fieldsets.intersection(frozen_left, frozen_right)
    assert paths_of(frozen_left) == left
    assert paths_of(frozen_right) == right


@given(PATHS)
def test_taking_nothing_away_gives_the_same_tree(paths: set[Path]) -> None:
    tree = tree_of(paths)
    assert fieldsets.difference(tree, {"f:z": {}}) is tree


@given(PATHS)
def test_a_settled_tree_is_the_same_set_in_order_and_one_for_all(paths: set[Path]) -> None:
    tree = fieldsets.settled(tree_of(paths))
    assert json.dumps(tree) == json.dumps(fieldsets.ordered(tree_of(paths)))
    assert freeze(tree) is tree
    assert fieldsets.settled(tree_of(sorted(paths, reverse=True))) is tree


def test_what_is_shared_is_bounded() -> None:
    first = fieldsets.settled({"f:once": {}})
    for number in range(2000):
        fieldsets.settled({f"f:{number}": {}})
    assert fieldsets.settled({"f:once": {}}) == first
    assert len(fieldsets._SHARED) <= fieldsets._MOST_SHARED
    long: Fields = {"f:" + "x" * fieldsets._LONGEST_SHARED: {}}
    assert fieldsets.settled(long) is not fieldsets.settled(long)


def test_member_with_others_below_it_is_marked_with_a_dot() -> None:
    assert tree_of([("f:a",), ("f:a", "f:b")]) == {"f:a": {".": {}, "f:b": {}}}
    assert fieldsets.difference({"f:a": {".": {}, "f:b": {}}}, {"f:a": {}}) == {"f:a": {"f:b": {}}}
    assert fieldsets.difference({"f:a": {".": {}, "f:b": {}}}, {"f:a": {"f:b": {}}}) == {"f:a": {}}


def test_paths_read_as_in_conflicts() -> None:
    path = ("f:spec", 'k:{"containerPort":80,"protocol":"TCP"}', 'v:"x"', "i:3")
    assert fieldsets.path_text(path) == '.spec[containerPort=80,protocol="TCP"][="x"][3]'


def test_paths_at_one_level_come_before_those_below() -> None:
    tree: Fields = {"f:a": {"f:x": {}}, "f:b": {}}
    assert list(fieldsets.paths(tree)) == [("f:b",), ("f:a", "f:x")]
