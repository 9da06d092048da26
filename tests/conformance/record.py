"""Keep what became of every conformance test, run by run, with the reason where one did not pass.

    python record.py [REPORT ...]             merge reports of `run.py`; without any, give reasons anew
    python record.py --compare REPORT REPORT  say which tests two runs do not agree on

`results.json` is what the documentation publishes: each test of the suite that is marked `[Conformance]`, by name, as
`{name, state, kind, reason}`. The state is that of the last run that finished the test, or `not run`; a run that left
it out or was stopped in it changes nothing. So the file holds the outcome of several runs, not of one.

Why a test does not pass is said by hand in `reasons.json`, a list of `{match, kind, reason}` of which the first whose
regular expression is found in the name counts. Kinds are `absent` (a capability that is not there), `defect` (ours, and
known) and `machine` (where it ran could not carry it). A test without an entry has none of these, and is shown so.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS, REASONS = HERE / "results.json", HERE / "reasons.json"
MARK = "[Conformance]"
#: What a test can have come to: otherwise it was not run to its end.
_FINISHED = {"passed": "passed", "failed": "failed", "panicked": "failed"}


def merged(known: Iterable[Mapping[str, Any]], tests: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The state of each test, by name, after a run."""
    states = {str(test["name"]): str(test["state"]) for test in known}
    for test in tests:
        name = str(test["name"])
        if MARK in name:
            states[name] = _FINISHED.get(str(test["state"]), states.get(name, "not run"))
    return dict(sorted(states.items()))


def explained(states: Mapping[str, str], reasons: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """What is published of these: where a test did not pass, also why, if anybody said so."""
    known, found = list(reasons), []
    for name, state in states.items():
        why = next((each for each in known if state != "passed" and re.search(each["match"], name)), None)
        found.append({"name": name, "state": state} | ({key: why[key] for key in ("kind", "reason")} if why else {}))
    return found


def differing(one: Iterable[Mapping[str, Any]], other: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """The tests that two runs do not agree on, with both states; what only one of them finished is among them."""
    first, second = merged((), one), merged((), other)
    every = {name: (first.get(name, "not run"), second.get(name, "not run")) for name in sorted({*first, *second})}
    return {name: states for name, states in every.items() if states[0] != states[1]}


def record(tests: Iterable[Mapping[str, Any]]) -> None:
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    found = explained(merged(known, tests), json.loads(REASONS.read_text()))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def compare(one: Path, other: Path) -> int:
    runs = [json.loads(path.read_text()) for path in (one, other)]
    found = differing(*runs)
    for name, (before, after) in found.items():
        print(f"{before:8} {after:8} {name}")
    print(f"{len(found)} differ, of " + " and ".join(f"{len(merged((), tests))} tests" for tests in runs))
    return int(bool(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--compare"]:
        sys.exit(compare(*map(Path, sys.argv[2:])))
    record(test for report in sys.argv[1:] for test in json.loads(Path(report).read_text()))
