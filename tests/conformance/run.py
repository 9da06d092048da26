"""Run the community's conformance suite against a cluster of ours, and write down what passed.

    python tests/conformance/run.py [--focus REGEX | --names FILE] [--skip REGEX] [--runtime oci|fake] [--parallel N]

Builds the suite and its runner (kept in the user's cache, by what they were built from), composes the images that it
asks for, starts `kube-core up` with nodes of real containers (`--runtime fake`: simulated ones), and writes
`build/conformance.json`, a list of `{name, state, seconds, why}` by name, and beside it what the suite said. The exit
code is 0 when the suite ran, however many of its tests failed: who compares counts reads the file. With `--record`
what came out also goes into `results.json`, which is published.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from images import REGISTRY, images
from record import MARK as MARKED
from record import record
from registry import serving

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "build" / "conformance.json"
LOG = RESULTS.with_suffix(".log")
RUNNER = "github.com/onsi/ginkgo/v2/ginkgo"
#: What the published program was told of itself when it was linked: a test looks for what goes with its version.
VERSION = " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (("gitMajor", "1"), ("gitMinor", "37"), ("gitVersion", "v1.37.2"))
)
_SOURCES = {".go", ".mod", ".sum"}
#: Images that the suite asks for because no registry has them.
MISSING = ("foo:non-existent", "webserver:404")
MARK = re.escape(MARKED)
#: Between two words of a test's name there may be marks that whoever names it leaves out.
GAP = r"(?: \[[^]]*\])* "


def built() -> tuple[Path, Path]:
    """The suite and the program that runs it in several processes."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    sources = [file.read_bytes() for file in sorted(HERE.glob("*.*")) if file.suffix in _SOURCES]
    digest = hashlib.sha256(b"".join([*sources, VERSION.encode()]))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kube-core-programs"
    folder = cache / f"conformance-{digest.hexdigest()[:16]}"
    suite, runner = folder / "suite.test", folder / "ginkgo"
    if not (suite.exists() and runner.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        print(f"building the suite into {folder}; this takes a while", flush=True)
        subprocess.run([go, "build", "-o", runner, RUNNER], cwd=HERE, check=True)
        subprocess.run([go, "test", "-c", "-ldflags", VERSION, "-o", suite, "."], cwd=HERE, check=True)
    return suite, runner


@contextlib.contextmanager
def filled_store() -> Iterator[Path]:
    """A store with the images that the suite asks for, and a registry that has them too while it is there."""
    kept = images()
    with tempfile.TemporaryDirectory(prefix="conformance-store-", dir=kept.parent) as directory:
        store = Path(directory) / "images"
        # The same files under a second name: what is pulled and collected in a run is the run's own affair.
        subprocess.run(["cp", "--archive", "--link", kept, store], check=True)
        with serving(kept) as url:
            (store / "registries.json").write_text(json.dumps({"registries": {REGISTRY: {"mirrors": [url]}}}))
            yield store


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    suite, runner = built()
    name = f"conformance-{os.getpid()}"
    with contextlib.ExitStack() as exits:
        directory = exits.enter_context(tempfile.TemporaryDirectory(prefix="kube-core-conformance-"))
        kubeconfig, report = Path(directory) / "kubeconfig", Path(directory) / "report.json"
        environment = {**os.environ, "XDG_STATE_HOME": directory}
        kube_core = [sys.executable, "-m", "kube_core.cli"]
        start = ["up", "--detach", "--in-memory", "--runtime", options.runtime, "--nodes", str(options.nodes)]
        start += ["--name", name, "--kubeconfig", str(kubeconfig), "--use-context"]
        if options.runtime == "fake":
            missing = {image: {"pull_error": f"failed to resolve reference {image!r}: not found"} for image in MISSING}
            config = Path(directory) / "config.yaml"
            config.write_text(json.dumps({"behaviours": missing}))  # JSON is YAML
            start += ["--config", str(config)]
        else:
            environment["KUBE_CORE_IMAGES"] = str(exits.enter_context(filled_store()))
            start += ["--network", "bridge"]
        subprocess.run([*kube_core, *start], env=environment, check=True)
        try:
            command = [
                str(runner),
                "-no-color",
                "-keep-going",
                f"-procs={options.parallel}",
                f"-timeout={options.minutes}m",
            ]
            # Both have to be in a test's text, in this order: the mark stands at its end.
            wanted = "|".join(f"{each}.*{MARK}" for each in focused(options))
            command += [f"-focus={wanted}", f"-json-report={report.name}", f"-output-dir={directory}"]
            command += [f"-skip={options.skip}"] if options.skip else []
            command += [str(suite), "--", f"-kubeconfig={kubeconfig}", "-provider=skeleton"]
            with LOG.open("w") as log:
                subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        finally:
            subprocess.run([*kube_core, "down", "--name", name], env=environment, check=False)
        tests = read(json.loads(report.read_text())) if report.exists() else []
        # A process of the runner that dies takes the whole report along, which is then empty or missing.
        if not tests:
            raise SystemExit(f"the suite gave no report; what it said is in {LOG}")
        return tests


def focused(options: argparse.Namespace) -> list[str]:
    """Regular expressions of which a test's name has to have one."""
    if options.names is None:
        return [options.focus]
    names = (line for line in options.names.read_text().splitlines() if line)
    return [GAP.join(map(re.escape, name.split(" "))) for name in names]


def read(reports: list[Any]) -> list[dict[str, Any]]:
    """What became of each test of the suite; `skipped` are those that were not to run."""
    found = []
    for spec in (spec for report in reports for spec in report["SpecReports"] or ()):
        if spec["LeafNodeType"] != "It":
            continue
        failure = spec.get("Failure") or {}
        found.append(
            {
                "name": " ".join([*(spec["ContainerHierarchyTexts"] or ()), spec["LeafNodeText"]]),
                "state": spec["State"],
                "seconds": round(spec["RunTime"] / 1e9, 1),
                "why": str(failure.get("Message") or "").strip()[:2000],
            }
        )
    return sorted(found, key=lambda test: str(test["name"]))


def main() -> None:
    parser = argparse.ArgumentParser(description="The community's conformance suite.")
    parser.add_argument("--focus", default=".*", help="a regular expression that a test's name has to have")
    parser.add_argument("--skip", default="", help="and one that it must not have")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--minutes", type=int, default=120)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--names", type=Path, help="a file with the names of those that are to run, one a line")
    contained = os.geteuid() == 0 and any(map(shutil.which, ("crun", "runc")))
    parser.add_argument(
        "--runtime",
        choices=("oci", "fake"),
        default="oci" if contained else "fake",
        help="of the nodes; containers are real with oci, which needs root, and crun or runc",
    )
    parser.add_argument("--record", action="store_true", help="merge what came out into results.json")
    options = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    every = run(options)
    if options.record:
        record(every)
    tests = [test for test in every if test["state"] != "skipped"]
    RESULTS.write_text(json.dumps(tests, indent=1) + "\n")
    for test in tests:
        if test["state"] != "passed":
            print(f"{test['state']:12} {test['name']}\n{'':13}{test['why'].splitlines()[0] if test['why'] else ''}")
    counts = Counter(test["state"] for test in tests)
    print(f"{len(tests)} tests: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
