"""What the audit log notes of a request, and where it goes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from fakes.server import ADMIN, running
from fakes.waiting import eventually
from fakes.webhook import listening
from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import User
from kube_core.apiserver.audit.files import LogFile, LogFileOptions
from kube_core.auth.options import SecurityOptions

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"


def options(path: Path, *rules: str, **more: Any) -> SecurityOptions:
    policy = path / "policy.yaml"
    policy.write_text("kind: Policy\napiVersion: audit.k8s.io/v1\nrules:\n" + "".join(f"- {each}\n" for each in rules))
    return SecurityOptions(audit_policy_file=policy, audit_log_path=str(path / "audit.log"), **more)


def noted(path: Path, **wanted: str) -> list[Any]:
    events = [orjson.loads(line) for line in (path / "audit.log").read_bytes().splitlines()]
    return [each for each in events if all(each.get(name) == value for name, value in wanted.items())]


def everything(path: Path) -> list[Any]:
    """What is in the log and in the files that were set aside."""
    return [orjson.loads(line) for file in path.iterdir() for line in file.read_bytes().splitlines()]


async def test_metadata_says_who_did_what_and_what_came_of_it(tmp_path: Path) -> None:
    async with running(security=options(tmp_path, "{level: Metadata}")) as api:
        answer = await api.ask("POST", MAPS, {"metadata": {"name": "a"}}, user_agent="test/1", audit_id="my-id")
        assert answer.headers["Audit-Id"] == "my-id"
        assert (await api.ask("GET", f"{MAPS}/b", token="alice-token")).status == 403
        assert (await api.ask("GET", "/version?x=1", token="nobody's")).status == 401
    received, complete = noted(tmp_path, auditID="my-id")
    assert (received["stage"], complete["stage"]) == ("RequestReceived", "ResponseComplete")
    assert "responseStatus" not in received
    assert complete["user"] == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
    assert complete["objectRef"] == {
        "resource": "configmaps",
        "namespace": "default",
        "apiVersion": "v1",
    }
    assert (complete["verb"], complete["requestURI"], complete["userAgent"]) == ("create", MAPS, "test/1")
    assert complete["responseStatus"] == {"metadata": {}, "code": 201}
    assert complete["annotations"] == {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}
    assert complete["sourceIPs"] == ["127.0.0.1"]
    assert "requestObject" not in complete
    (refused,) = noted(tmp_path, stage="ResponseComplete", verb="get", requestURI=f"{MAPS}/b")
    assert refused["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert (refused["responseStatus"]["code"], refused["responseStatus"]["reason"]) == (403, "Forbidden")
    unknown = noted(tmp_path, requestURI="/version?x=1")[-1]
    assert (unknown["user"], unknown["responseStatus"]["code"]) == ({"username": ""}, 401)


async def test_the_higher_levels_note_the_objects(tmp_path: Path) -> None:
    rules = [
        '{level: Request, resources: [{group: "", resources: [configmaps]}], omitStages: [RequestReceived]}',
        '{level: RequestResponse, resources: [{group: "", resources: [secrets]}], omitManagedFields: true}',
        "{level: None}",
    ]
    async with running(security=options(tmp_path, *rules)) as api:
        await api.post(MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}})
        await api.post("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
        await api.get("/api/v1/nodes")
    (of_map,) = noted(tmp_path, level="Request")
    assert of_map["requestObject"]["data"] == {"k": "v"}
    assert "responseObject" not in of_map
    of_secret = noted(tmp_path, level="RequestResponse")[-1]
    assert of_secret["responseObject"]["metadata"]["name"] == "s"
    assert "managedFields" not in of_secret["responseObject"]["metadata"]
    assert {each["level"] for each in noted(tmp_path)} == {"Request", "RequestResponse"}


async def test_impersonation_is_noted_with_both_identities(tmp_path: Path) -> None:
    async with running(security=options(tmp_path, "{level: Metadata}")) as api:
        await api.ask("GET", "/version", impersonate_user="ann")
    event = noted(tmp_path, stage="ResponseComplete")[-1]
    assert (event["user"]["username"], event["impersonatedUser"]["username"]) == ("admin", "ann")


async def test_a_watch_is_noted_when_it_starts_and_when_it_is_over(tmp_path: Path) -> None:
    async with running(security=options(tmp_path, "{level: Metadata, verbs: [watch]}")) as api:
        answer = await api.ask("GET", f"{MAPS}?watch=true&timeoutSeconds=1000")
        assert answer.stream is not None
        await answer.stream.aclose()  # type: ignore[attr-defined]  # as the HTTP adapter does when the client goes

        async def over() -> bool:
            return len(noted(tmp_path)) == 3

        await eventually(over)
    assert [each["stage"] for each in noted(tmp_path)] == ["RequestReceived", "ResponseStarted", "ResponseComplete"]


async def test_what_goes_wrong_in_the_server_itself_is_a_panic(tmp_path: Path) -> None:
    async with running(security=options(tmp_path, "{level: Metadata}")) as api:

        def broken(_: Any) -> None:
            raise ValueError("no such luck")

        api.server.pipeline.routes.insert(0, broken)
        assert (await api.ask("GET", "/nowhere")).status == 500
    assert [each["stage"] for each in noted(tmp_path, requestURI="/nowhere")] == ["RequestReceived", "Panic"]
    assert noted(tmp_path, stage="Panic")[0]["responseStatus"]["message"] == "no such luck"


async def test_without_a_policy_nothing_is_made_for_it() -> None:
    async with running() as api:
        assert api.server.pipeline.auditor is None


async def test_a_webhook_gets_events_in_batches(tmp_path: Path) -> None:
    async with listening() as hook:
        given = options(tmp_path, "{level: Metadata}", audit_webhook_config_file=hook.kubeconfig(tmp_path))
        async with running(security=given) as api:
            await api.get("/version")
            await asyncio.sleep(0)
            assert hook.received == []
        (batch,) = hook.received
    assert (batch["kind"], batch["apiVersion"]) == ("EventList", "audit.k8s.io/v1")
    assert [each["stage"] for each in batch["items"]] == ["RequestReceived", "ResponseComplete"]


async def test_full_files_are_set_aside_and_only_the_youngest_kept(tmp_path: Path) -> None:
    clock = FakeClock()
    log = LogFile(LogFileOptions(str(tmp_path / "audit.log"), maximum_size=50, backups=2), clock)
    log.start()
    for number in range(5):
        await log.put(b'{"number":%d,"filled":"%b"}' % (number, b"x" * 20))
    await log.stop()
    assert sorted(each["number"] for each in everything(tmp_path)) == [2, 3, 4]
    assert (tmp_path / "audit.log").read_bytes().count(b"\n") == 1


async def test_a_user_of_the_same_program_is_noted_too(tmp_path: Path) -> None:
    async with running(security=options(tmp_path, "{level: RequestResponse, verbs: [create]}")) as api:
        user = User("inside", ADMIN.groups)
        await api.post(MAPS, {"metadata": {"name": "a"}}, user=user, token="")
    (event,) = noted(tmp_path, stage="ResponseComplete")
    assert (event["user"]["username"], event["responseObject"]["metadata"]["name"]) == ("inside", "a")
