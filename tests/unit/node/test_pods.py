"""The pure parts of a pod's life: what is to be done, what is reported, how long a failure waits."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.abc.runtime import ContainerConfig, ContainerStatus
from kube_core.meta.documents import Document
from kube_core.node.pods.backoff import Backoffs, duration_text
from kube_core.node.pods.plan import Plan, history, make_plan
from kube_core.node.pods.status import Observed, pod_status
from kube_core.node.pods.waiting import Waiting

NOW = 1_767_225_600.0


def run(name: str, state: Any = "running", code: int = 0, attempt: int = 0, image: str = "x") -> ContainerStatus:
    return ContainerStatus(
        id=f"{name}-{attempt}",
        sandbox_id="s",
        pod_uid="u",
        config=ContainerConfig(name=name, image=image, attempt=attempt),
        state=state,
        created_at=NOW,
        started_at=NOW,
        finished_at=NOW if state == "exited" else 0.0,
        exit_code=code,
        reason=("Completed" if code == 0 else "Error") if state == "exited" else "",
    )


def pod(*containers: str, inits: tuple[Document, ...] = (), policy: str = "Always") -> Document:
    spec = {
        "restartPolicy": policy,
        "containers": [{"name": name, "image": "x"} for name in containers],
        "initContainers": list(inits),
    }
    return {"metadata": {"name": "p", "uid": "u", "generation": 1}, "spec": spec}


def init(name: str, **more: Any) -> Document:
    return {"name": name, "image": "x", **more}


def plan(document: Document, *runs: ContainerStatus, failed: dict[str, str] | None = None) -> Plan:
    return make_plan(document, history(runs), started=lambda _: True, failed=failed or {})


def starts(made: Plan) -> list[str]:
    return [container["name"] for container in made.start]


def status(
    document: Document, *runs: ContainerStatus, over: bool = False, waiting: dict[str, Waiting] | None = None
) -> dict[str, Any]:
    observed = Observed(
        runs=history(runs),
        waiting=waiting or {},
        ready=lambda _: True,
        started=lambda _: True,
        runtime_name="fake",
        pod_ips=("10.0.0.5",),
        sandbox_ready=True,
        over=over,
    )
    return pod_status(document, observed, before={}, now=NOW)


def conditions(reported: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in reported["conditions"]}


def test_init_containers_run_one_after_another_before_the_apps() -> None:
    document = pod("app", inits=(init("one"), init("two")))
    assert starts(plan(document)) == ["one"]
    assert starts(plan(document, run("one"))) == []
    assert starts(plan(document, run("one", "exited"))) == ["two"]
    assert starts(plan(document, run("one", "exited"), run("two", "exited"))) == ["app"]


def test_a_sidecar_is_started_and_kept_while_the_apps_run() -> None:
    document = pod("app", inits=(init("side", restartPolicy="Always"),))
    assert starts(plan(document)) == ["side"]
    assert starts(plan(document, run("side"))) == ["app"]
    assert starts(plan(document, run("side", "exited", 1), run("app"))) == ["side"]


def test_a_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    assert plan(pod("app", inits=(init("one"),), policy="Never"), run("one", "exited", 1)).over
    assert starts(plan(pod("app", inits=(init("one"),)), run("one", "exited", 1))) == ["one"]


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_says_whether_an_app_runs_again(policy: str, code: int, again: bool) -> None:
    made = plan(pod("app", policy=policy), run("app", "exited", code))
    assert (starts(made) == ["app"], made.over) == (again, not again)


def test_a_failed_probe_and_a_changed_image_stop_a_container() -> None:
    assert plan(pod("app"), run("app"), failed={"app-0": "liveness"}).stop[0].why == (
        "Container app failed liveness probe, will be restarted"
    )
    assert "definition changed" in plan(pod("app"), run("app", image="old")).stop[0].why


def test_a_pod_whose_containers_have_not_started_is_pending() -> None:
    reported = status(pod("app"))
    assert reported["phase"] == "Pending"
    assert reported["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert conditions(reported)["Ready"] == "False"


def test_apps_wait_for_init_containers_as_pod_initializing() -> None:
    reported = status(pod("app", inits=(init("one"),)), run("one"))
    assert reported["phase"] == "Pending"
    assert reported["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    initialized = next(each for each in reported["conditions"] if each["type"] == "Initialized")
    assert initialized["message"] == "containers with incomplete status: [one]"


def test_a_running_pod_is_ready() -> None:
    reported = status(pod("app"), run("app"))
    assert (reported["phase"], set(conditions(reported).values())) == ("Running", {"True"})
    assert reported["containerStatuses"][0]["containerID"] == "fake://app-0"


def test_a_container_in_back_off_keeps_the_pod_running_and_shows_how_it_ended() -> None:
    waiting = {"app": Waiting("CrashLoopBackOff", "back-off 10s")}
    reported = status(pod("app"), run("app", "exited", 2, attempt=3), waiting=waiting)
    container = reported["containerStatuses"][0]
    assert reported["phase"] == "Running"
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert container["lastState"]["terminated"]["exitCode"] == 2
    assert container["restartCount"] == 3


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (1, "Failed")])
def test_a_pod_that_is_over_has_a_final_phase(code: int, phase: str) -> None:
    reported = status(pod("app", policy="Never"), run("app", "exited", code), over=True)
    assert reported["phase"] == phase
    assert conditions(reported)["Ready"] == "False"


def test_transition_times_move_only_with_the_status() -> None:
    first = status(pod("app"), run("app"))
    observed = Observed(history([run("app")]), {}, lambda _: True, lambda _: True, "fake", (), ("10.0.0.5",), True)
    later = pod_status(pod("app"), observed, before=first, now=NOW + 100)
    assert later["conditions"] == first["conditions"]


def test_back_off_doubles_to_five_minutes_and_is_forgotten_after_ten_quiet_ones() -> None:
    backoffs, now = Backoffs(), 0.0
    assert backoffs.remaining("a", now, now) == 0
    seen = []
    for _ in range(7):
        backoffs.next("a", now)
        seen.append(backoffs.remaining("a", now, now))
        now += seen[-1]
    assert seen == [10, 20, 40, 80, 160, 300, 300]
    assert backoffs.remaining("a", now, now + 601) == 0
    assert (duration_text(10), duration_text(160), duration_text(300)) == ("10s", "2m40s", "5m0s")
