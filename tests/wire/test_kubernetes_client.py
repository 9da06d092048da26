"""The official Python clients, unmodified: `kubernetes`, and `kubernetes_asyncio`, its twin for asyncio."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes.dynamic
import kubernetes_asyncio as aio
import pytest
import yaml
from kubernetes import client, config, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
from kubernetes.stream import portforward, stream
from kubernetes_asyncio.dynamic import DynamicClient as AsyncDynamicClient
from kubernetes_asyncio.stream import WsApiClient

from fakes.kubectl import Kubectl
from fakes.waiting import soon

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("unclosed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def api(kubectl: Kubectl) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(kubectl.kubeconfig)) as made:
        yield made


@pytest.fixture
def process_api(process_kubectl: Kubectl, manifests: Path) -> Iterator[client.ApiClient]:
    """Of a cluster where the pods `talker` and `page` run."""
    process_kubectl("apply", "-f", manifests / "pods.yaml")
    process_kubectl("wait", "--for=condition=Ready", "pods", "--all", "--timeout=30s")
    with config.new_client_from_config(str(process_kubectl.kubeconfig)) as made:
        yield made


LABELS = {"app": "web"}
POD_SPEC = client.V1PodSpec(containers=[client.V1Container(name="main", image="nginx")])
TEMPLATE = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=LABELS), spec=POD_SPEC)
ONCE = client.V1PodTemplateSpec(
    spec=client.V1PodSpec(containers=[client.V1Container(name="main", image="nginx")], restart_policy="Never")
)

#: A kind of each group that people write: the group's class, the methods' word, a body.
KINDS: list[tuple[Any, str, Any]] = [
    (client.CoreV1Api, "config_map", client.V1ConfigMap(data={"a": "b"})),
    (client.CoreV1Api, "secret", client.V1Secret(string_data={"a": "b"})),
    (client.CoreV1Api, "service", client.V1Service(spec=client.V1ServiceSpec(ports=[client.V1ServicePort(port=80)]))),
    (client.CoreV1Api, "service_account", client.V1ServiceAccount()),
    (client.CoreV1Api, "pod", client.V1Pod(spec=POD_SPEC)),
    (client.CoreV1Api, "replication_controller", client.V1ReplicationController(
        spec=client.V1ReplicationControllerSpec(replicas=0, selector=LABELS, template=TEMPLATE))),
    (client.CoreV1Api, "limit_range", client.V1LimitRange(spec=client.V1LimitRangeSpec(limits=[
        client.V1LimitRangeItem(type="Container", max={"cpu": "8"})]))),
    (client.CoreV1Api, "resource_quota", client.V1ResourceQuota(
        spec=client.V1ResourceQuotaSpec(hard={"pods": "50"}))),
    (client.CoreV1Api, "persistent_volume_claim", client.V1PersistentVolumeClaim(
        spec=client.V1PersistentVolumeClaimSpec(access_modes=["ReadWriteOnce"],
            resources=client.V1VolumeResourceRequirements(requests={"storage": "1Gi"})))),
    (client.AppsV1Api, "deployment", client.V1Deployment(spec=client.V1DeploymentSpec(
        selector=client.V1LabelSelector(match_labels=LABELS), template=TEMPLATE))),
    (client.AppsV1Api, "stateful_set", client.V1StatefulSet(spec=client.V1StatefulSetSpec(
        service_name="web", selector=client.V1LabelSelector(match_labels=LABELS), template=TEMPLATE))),
    (client.AppsV1Api, "daemon_set", client.V1DaemonSet(spec=client.V1DaemonSetSpec(
        selector=client.V1LabelSelector(match_labels=LABELS), template=TEMPLATE))),
    (client.BatchV1Api, "job", client.V1Job(spec=client.V1JobSpec(template=ONCE))),
    (client.BatchV1Api, "cron_job", client.V1CronJob(spec=client.V1CronJobSpec(
        schedule="0 0 1 1 *", job_template=client.V1JobTemplateSpec(spec=client.V1JobSpec(template=ONCE))))),
    (client.AutoscalingV2Api, "horizontal_pod_autoscaler", client.V2HorizontalPodAutoscaler(
        spec=client.V2HorizontalPodAutoscalerSpec(max_replicas=3, scale_target_ref=client.V2CrossVersionObjectReference(
            kind="Deployment", name="web", api_version="apps/v1")))),
    (client.NetworkingV1Api, "network_policy", client.V1NetworkPolicy(
        spec=client.V1NetworkPolicySpec(pod_selector=client.V1LabelSelector()))),
    (client.NetworkingV1Api, "ingress", client.V1Ingress(spec=client.V1IngressSpec(
        default_backend=client.V1IngressBackend(service=client.V1IngressServiceBackend(
            name="web", port=client.V1ServiceBackendPort(number=80)))))),
    (client.PolicyV1Api, "pod_disruption_budget", client.V1PodDisruptionBudget(
        spec=client.V1PodDisruptionBudgetSpec(min_available=1, selector=client.V1LabelSelector(match_labels=LABELS)))),
    (client.RbacAuthorizationV1Api, "role", client.V1Role(rules=[
        client.V1PolicyRule(verbs=["get"], api_groups=[""], resources=["pods"])])),
    (client.CoordinationV1Api, "lease", client.V1Lease(spec=client.V1LeaseSpec(holder_identity="me"))),
]  # fmt: skip


@pytest.mark.parametrize(("group", "word", "body"), KINDS, ids=[word for _, word, _ in KINDS])
def test_typed_methods_of_every_verb(api: client.ApiClient, kubectl: Kubectl, group: Any, word: str, body: Any) -> None:
    calls, name, namespace = group(api), "typed", kubectl.namespace
    body.metadata = client.V1ObjectMeta(name=name, labels={"round": "one"})
    made = getattr(calls, f"create_namespaced_{word}")(namespace, body)
    assert made.metadata.uid
    found = getattr(calls, f"read_namespaced_{word}")(name, namespace)
    assert (type(found), found.metadata.uid) == (type(body), made.metadata.uid)
    listed = getattr(calls, f"list_namespaced_{word}")(namespace, label_selector="round=one", limit=5)
    assert [item.metadata.name for item in listed.items] == [name]
    patched = getattr(calls, f"patch_namespaced_{word}")(name, namespace, {"metadata": {"labels": {"round": "two"}}})
    assert patched.metadata.labels == {"round": "two"}

    def replaced() -> Any:
        # A controller may write between the reading and the replacing.
        fresh = getattr(calls, f"read_namespaced_{word}")(name, namespace)
        fresh.metadata.annotations = {**(fresh.metadata.annotations or {}), "seen": "yes"}
        try:
            return getattr(calls, f"replace_namespaced_{word}")(name, namespace, fresh)
        except ApiException as error:
            if error.status != 409:
                raise
            return None

    assert soon(replaced).metadata.annotations["seen"] == "yes"
    getattr(calls, f"delete_collection_namespaced_{word}")(
        namespace, label_selector="round=two", grace_period_seconds=0
    )
    soon(lambda: not getattr(calls, f"list_namespaced_{word}")(namespace, label_selector="round=two").items)
    with pytest.raises(ApiException) as missing:
        getattr(calls, f"read_namespaced_{word}")(name, namespace)
    assert (missing.value.status, missing.value.reason) == (404, "Not Found")


def test_kinds_without_namespaces(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    assert {node.metadata.name for node in core.list_node().items} >= {"node-1", "node-2"}
    assert core.read_namespace("default").status.phase == "Active"
    assert client.RbacAuthorizationV1Api(api).read_cluster_role("cluster-admin").rules
    assert client.VersionApi(api).get_code().minor.startswith("37")
    groups = [group.name for group in client.ApisApi(api).get_api_versions().groups]
    assert {"apps", "batch", "networking.k8s.io"} <= set(groups)
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(verb="*", resource="*")
        )
    )
    assert client.AuthorizationV1Api(api).create_self_subject_access_review(review).status.allowed


def test_status_and_scale_of_a_deployment(api: client.ApiClient, kubectl: Kubectl) -> None:
    apps, namespace = client.AppsV1Api(api), kubectl.namespace
    deployment = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="web"),
        spec=client.V1DeploymentSpec(
            replicas=1, selector=client.V1LabelSelector(match_labels=LABELS), template=TEMPLATE
        ),
    )
    apps.create_namespaced_deployment(namespace, deployment)
    apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 3}})
    soon(lambda: apps.read_namespaced_deployment_status("web", namespace).status.ready_replicas == 3)
    assert apps.read_namespaced_deployment_scale("web", namespace).status.replicas == 3
    core = client.CoreV1Api(api)
    pod = core.list_namespaced_pod(namespace).items[0].metadata.name
    core.create_namespaced_pod_eviction(pod, namespace, client.V1Eviction(metadata=client.V1ObjectMeta(name=pod)))
    apps.delete_namespaced_deployment("web", namespace, propagation_policy="Foreground")
    soon(lambda: not core.list_namespaced_pod(namespace).items)


def test_watch_gives_objects_and_goes_on_from_a_version(api: client.ApiClient, kubectl: Kubectl) -> None:
    core, namespace = client.CoreV1Api(api), kubectl.namespace
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    for name in ("one", "two"):
        core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name)))
    core.delete_namespaced_config_map("one", namespace)
    seen = []
    watcher = watch.Watch()
    options = {"resource_version": start, "timeout_seconds": 20, "field_selector": "metadata.name!=kube-root-ca.crt"}
    for event in watcher.stream(core.list_namespaced_config_map, namespace, **options):
        assert isinstance(event["object"], client.V1ConfigMap)
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watcher.stop()
    assert seen == [("ADDED", "one"), ("ADDED", "two"), ("DELETED", "one")]


def test_create_from_yaml_and_the_dynamic_client(
    api: client.ApiClient, kubectl: Kubectl, tmp_path: Path, manifests: Path
) -> None:
    utils.create_from_yaml(api, str(manifests / "pods.yaml"), namespace=kubectl.namespace)
    with pytest.raises(utils.FailToCreateError, match="already exists"):
        utils.create_from_yaml(api, str(manifests / "pods.yaml"), namespace=kubectl.namespace)
    dynamic = kubernetes.dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery"))
    pods = dynamic.resources.get(api_version="v1", kind="Pod")
    assert sorted(pod.metadata.name for pod in pods.get(namespace=kubectl.namespace).items) == ["page", "talker"]
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "1"}}
    applied = dynamic.server_side_apply(maps, body=body, namespace=kubectl.namespace, field_manager="tests")
    assert applied.metadata.managedFields[0].manager == "tests"
    maps.patch({"metadata": {"name": "applied"}, "data": {"b": "2"}}, "applied", kubectl.namespace,
               content_type="application/merge-patch+json")  # fmt: skip
    assert maps.get("applied", kubectl.namespace).data.to_dict() == {"a": "1", "b": "2"}
    version = maps.get(namespace=kubectl.namespace).metadata.resourceVersion
    maps.delete("applied", kubectl.namespace)
    for event in maps.watch(namespace=kubectl.namespace, resource_version=version, timeout=20):
        assert (event["type"], event["object"].metadata.name) == ("DELETED", "applied")
        break
    with pytest.raises(kubernetes.dynamic.exceptions.NotFoundError):
        maps.get("applied", kubectl.namespace)


def test_leaders_are_elected(api: client.ApiClient, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    # The lock makes a client of the default configuration.
    config.load_kube_config(str(kubectl.kubeconfig))
    led: list[str] = []

    class Done(Exception):
        pass

    def lead() -> None:
        led.append("it")

    def stopped() -> None:
        raise Done

    lock = ConfigMapLock("leader", kubectl.namespace, "one")
    election = electionconfig.Config(
        lock, lease_duration=30, renew_deadline=20, retry_period=1.1, onstarted_leading=lead, onstopped_leading=stopped
    )
    elected = leaderelection.LeaderElection(election)
    assert elected.try_acquire_or_renew()
    assert elected.try_acquire_or_renew()
    rival = electionconfig.Config(
        ConfigMapLock("leader", kubectl.namespace, "two"),
        lease_duration=30, renew_deadline=20, retry_period=1.1, onstarted_leading=lead, onstopped_leading=stopped,
    )  # fmt: skip
    assert not leaderelection.LeaderElection(rival).try_acquire_or_renew()
    notes = client.CoreV1Api(api).read_namespaced_config_map("leader", kubectl.namespace).metadata.annotations
    assert '"one"' in notes["control-plane.alpha.kubernetes.io/leader"]


def test_configuration_is_loaded_from_dictionaries_and_contexts(kubectl: Kubectl, tmp_path: Path) -> None:
    loaded = yaml.safe_load(kubectl.kubeconfig.read_text())
    contexts, _ = config.list_kube_config_contexts(str(kubectl.kubeconfig))
    by_dictionary = config.new_client_from_config_dict(loaded, context=contexts[0]["name"])
    assert client.CoreV1Api(by_dictionary).list_namespace().items
    token = kubectl("create", "token", "default").strip()
    entry = loaded["clusters"][0]["cluster"]
    (tmp_path / "ca.pem").write_text(base64.b64decode(entry["certificate-authority-data"]).decode())
    bearer = client.Configuration(host=entry["server"], api_key={"authorization": token},
                                  api_key_prefix={"authorization": "Bearer"})  # fmt: skip
    bearer.ssl_ca_cert = str(tmp_path / "ca.pem")
    with client.ApiClient(bearer) as with_token:
        me = client.AuthenticationV1Api(with_token).create_self_subject_review(client.V1SelfSubjectReview())
        assert me.status.user_info.username == f"system:serviceaccount:{kubectl.namespace}:default"
        with pytest.raises(ApiException) as refused:
            client.CoreV1Api(with_token).list_namespaced_secret(kubectl.namespace)
        assert refused.value.status == 403


def test_streams_of_pods(process_api: client.ApiClient, process_kubectl: Kubectl) -> None:
    core, namespace = client.CoreV1Api(process_api), process_kubectl.namespace
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert stream(core.connect_get_namespaced_pod_exec, "page", namespace, command=["echo", "hello"],
                  stdout=True, stderr=True, stdin=False, tty=False) == "hello\n"  # fmt: skip
    shell = stream(core.connect_get_namespaced_pod_exec, "page", namespace, command=command,
                   stdout=True, stderr=True, stdin=False, tty=False, _preload_content=False)  # fmt: skip
    shell.run_forever(timeout=20)
    assert (shell.read_stdout(), shell.read_stderr(), shell.returncode) == ("out\n", "err\n", 3)
    echo = stream(core.connect_get_namespaced_pod_exec, "page", namespace, command=["head", "-n1"],
                  stdout=True, stderr=True, stdin=True, tty=False, _preload_content=False)  # fmt: skip
    echo.write_stdin("typed\n")
    echo.run_forever(timeout=20)
    assert echo.read_stdout() == "typed\n"
    attached = stream(core.connect_get_namespaced_pod_attach, "talker", namespace,
                      stdout=True, stderr=True, stdin=False, tty=False, _preload_content=False)  # fmt: skip
    assert attached.readline_stdout(timeout=20).startswith("line ")
    attached.close()
    assert core.read_namespaced_pod_log("talker", namespace).startswith("line 1\n")
    followed = watch.Watch()
    for number, line in enumerate(followed.stream(core.read_namespaced_pod_log, "talker", namespace), 1):
        assert line == f"line {number}"
        if number == 5:
            followed.stop()
            break
    forward = portforward(core.connect_get_namespaced_pod_portforward, "page", namespace, ports="8080")
    socket = forward.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while part := socket.recv(4096):
        answer += part
    socket.close()
    assert answer.endswith(b"hello from page\n")
    assert forward.error(8080) is None


async def test_the_async_client(kubectl: Kubectl, manifests: Path) -> None:
    configuration = aio.client.Configuration()
    await aio.config.load_kube_config(str(kubectl.kubeconfig), client_configuration=configuration)
    namespace = kubectl.namespace
    async with aio.client.ApiClient(configuration) as api:
        core = aio.client.CoreV1Api(api)
        await aio.utils.create_from_yaml(api, str(manifests / "pods.yaml"), namespace=namespace)
        start = (await core.list_namespaced_config_map(namespace)).metadata.resource_version
        body = aio.client.V1ConfigMap(metadata=aio.client.V1ObjectMeta(name="one"), data={"a": "b"})
        assert (await core.create_namespaced_config_map(namespace, body)).data == {"a": "b"}
        await core.patch_namespaced_config_map("one", namespace, {"data": {"c": "d"}})
        await core.delete_namespaced_config_map("one", namespace)
        seen = []
        watcher = aio.watch.Watch()
        options = {"resource_version": start, "field_selector": "metadata.name=one", "timeout_seconds": 20}
        async for event in watcher.stream(core.list_namespaced_config_map, namespace, **options):
            seen.append((event["type"], event["object"].data))
            if event["type"] == "DELETED":
                break
        await watcher.close()
        both = {"a": "b", "c": "d"}
        assert seen == [("ADDED", {"a": "b"}), ("MODIFIED", both), ("DELETED", both)]
        dynamic = await AsyncDynamicClient(api)
        pods = await dynamic.resources.get(api_version="v1", kind="Pod")
        listed = await pods.get(namespace=namespace)
        assert sorted(pod.metadata.name for pod in listed.items) == ["page", "talker"]
        deadline = time.monotonic() + 20
        while not all(pod.status.phase == "Running" for pod in (await core.list_namespaced_pod(namespace)).items):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def test_the_async_client_in_pods(process_api: client.ApiClient, process_kubectl: Kubectl) -> None:
    configuration = aio.client.Configuration()
    await aio.config.load_kube_config(str(process_kubectl.kubeconfig), client_configuration=configuration)
    namespace = process_kubectl.namespace
    async with WsApiClient(configuration) as api:
        core = aio.client.CoreV1Api(api)
        said = await core.connect_get_namespaced_pod_exec(
            "page", namespace, command=["echo", "hello"], stdout=True, stderr=True, stdin=False, tty=False
        )
        assert said == "hello\n"
    async with aio.client.ApiClient(configuration) as api:
        text = await aio.client.CoreV1Api(api).read_namespaced_pod_log("talker", namespace, tail_lines=1)
        assert text.startswith("line ")
