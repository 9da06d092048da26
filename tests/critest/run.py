"""Run the community's CRI validation suite (`critest` of cri-tools) against `kube-core cri --runtime oci`.

    PYTHONPATH=tests python -m critest.run [--focus REGEX] [--skip REGEX] [--runtime oci:runc] [--websocket]

Builds the suite (kept in the user's cache, by its version), serves the images that it asks for from a registry on
loopback, starts `kube-core cri`, and writes `build/critest.json`, a list of `{name, state, seconds, why}` by name, and
beside it what the suite said. Prints how many passed, failed and were skipped; the exit code is 0 when the suite ran.

Needs root, crun, Go, and the images of `tests/conformance/images.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from critest.published import ROOT, publish
from fakes.images import serving

HERE = Path(__file__).resolve().parent
RESULTS = ROOT / "build" / "critest.json"
LOG = RESULTS.with_suffix(".log")
PROGRAM = "sigs.k8s.io/cri-tools/cmd/critest"
#: Minutes that all of it may take.
LIMIT = 40


def built() -> Path:
    """The suite's program."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in ("go.mod", "go.sum"))).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kube-core-programs"
    suite = cache / f"critest-{digest}" / "critest"
    if not suite.exists():
        print(f"building {suite}", flush=True)
        subprocess.run([go, "test", "-mod=mod", "-c", "-o", str(suite), PROGRAM], cwd=HERE, check=True)
    return suite


@asynccontextmanager
async def endpoint(directory: Path, mirror: str, runtime: str) -> AsyncIterator[str]:
    """`kube-core cri`, whose images come from the mirror, for as long as the block runs."""
    images = directory / "images"
    images.mkdir()
    (images / "registries.json").write_text(json.dumps({"registries": {"*": {"mirrors": [mirror]}}}))
    address = f"unix://{directory}/cri.sock"
    command = [sys.executable, "-m", "kube_core.cli", "cri", "--runtime", runtime, "--state", str(directory / "state")]
    command += ["--pod-cidr", "10.87.0.0/16"]
    environment = {**os.environ, "KUBE_CORE_IMAGES": str(images)}
    log = (directory / "cri.log").open("w")
    process = await asyncio.create_subprocess_exec(
        *command, "--listen", address, env=environment, stdout=asyncio.subprocess.PIPE, stderr=log
    )
    try:
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise SystemExit(f"kube-core cri ended: {(directory / 'cri.log').read_text()}")
        yield address
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
        log.close()
        print((directory / "cri.log").read_text(), end="")
        await (await asyncio.create_subprocess_exec(*command, "--end", env=environment)).wait()


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    suite = built()
    with tempfile.TemporaryDirectory(prefix="kube-core-critest-") as name:
        directory = Path(name)
        async with serving() as registry:
            await asyncio.to_thread(publish, registry)
            async with endpoint(directory, registry.url, options.runtime) as address:
                report = directory / "report.json"
                command = [str(suite), f"-runtime-endpoint={address}", f"-ginkgo.json-report={report}"]
                command += ["-ginkgo.no-color", f"-ginkgo.timeout={LIMIT}m"]
                for verb in ("exec", "attach", "portforward") if options.websocket else ():
                    command += [f"-websocket-{verb}"]
                command += [f"-ginkgo.focus={options.focus}"] if options.focus else []
                command += [f"-ginkgo.skip={options.skip}"] if options.skip else []
                LOG.parent.mkdir(exist_ok=True)
                with LOG.open("w") as log:
                    tests = await asyncio.create_subprocess_exec(
                        *command, cwd=directory, stdout=log, stderr=asyncio.subprocess.STDOUT
                    )
                    await tests.wait()
                if not report.exists():
                    raise SystemExit(f"the suite gave no report; what it said is in {LOG}")
                return read(json.loads(report.read_text()))


def read(reports: list[Any]) -> list[dict[str, Any]]:
    """What became of each test; those that were not to run are left out."""
    found = []
    for spec in (spec for report in reports for spec in report["SpecReports"] or ()):
        failure = spec.get("Failure") or {}
        if spec["LeafNodeType"] != "It" or (spec["State"] == "skipped" and not failure):
            continue
        words = [*(spec["ContainerHierarchyTexts"] or ()), spec["LeafNodeText"]]
        found.append(
            {
                "name": " ".join(words),
                "state": spec["State"],
                "seconds": round(spec["RunTime"] / 1e9, 1),
                "why": failure.get("Message", ""),
            }
        )
    return sorted(found, key=lambda test: test["name"])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--focus", default="", help="a regular expression of the tests to run")
    parser.add_argument("--skip", default="", help="a regular expression of those to leave out")
    parser.add_argument("--runtime", default="oci", help="the driver that is served")
    parser.add_argument("--websocket", action="store_true", help="stream over WebSockets instead of SPDY")
    tests = asyncio.run(run(parser.parse_args()))
    RESULTS.write_text(json.dumps(tests, indent=1) + "\n")
    for test in tests:
        if test["state"] not in ("passed", "skipped"):
            print(f"{test['state']}: {test['name']}: {' '.join(test['why'].split())[:300]}")
    counts = Counter(test["state"] for test in tests)
    print(", ".join(f"{count} {state}" for state, count in counts.most_common()), f"of {len(tests)}; see {RESULTS}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
