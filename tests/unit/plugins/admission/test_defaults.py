"""The admission plugins that fill in and refuse, each alone with what it may read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core._kit.random import Random
from kube_core.abc.transport import User
from kube_core.admission.chain import AdmissionContext, AdmissionPlugin, Chain, Reader
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key, key_of
from kube_core.meta.status import Forbidden, NotFound
from kube_core.registry.context import Attributes, Operation
from kube_plugins.admission.default_ingress_class import DefaultIngressClass
from kube_plugins.admission.default_storage_class import DefaultStorageClass
from kube_plugins.admission.default_tolerations import DefaultTolerationSeconds
from kube_plugins.admission.namespace_lifecycle import NamespaceLifecycle
from kube_plugins.admission.priority import Priority
from kube_plugins.admission.service_account import TOKEN_PATH, ServiceAccount
from kube_plugins.admission.storage_protection import StorageObjectInUseProtection
from kube_plugins.admission.taint_nodes import TaintNodesByCondition

pytestmark = pytest.mark.anyio

CLAIMS = ResourceType("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True)
INGRESSES = ResourceType("networking.k8s.io", "v1", "Ingress", "ingresses", True)
DEFAULT_STORAGE = "storageclass.kubernetes.io/is-default-class"
DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"


class Objects(Reader):
    """What there is to read, by plural name."""

    def __init__(self, **objects: list[Document]) -> None:
        self._objects = objects
        self._followers: tuple[Callable[[], None], ...] = ()

    def get(self, resource: ResourceType, key: Key) -> Document | None:
        return next((each for each in self.list(resource) if key_of(each) == key), None)

    def list(self, resource: ResourceType, namespace: str = "") -> Iterable[Document]:
        return self._objects.get(resource.plural, [])

    def follow(self, resource: ResourceType, changed: Callable[[], None]) -> None:
        self._followers += (changed,)

    def change(self, plural: str, *objects: Document) -> None:
        """Have these from now on, and tell whoever follows."""
        self._objects[plural] = [*objects]
        for changed in self._followers:
            changed()


def named(name: str, namespace: str = "", *, annotations: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "creationTimestamp": more.pop("created", "2026-01-01T00:00:00Z")}
    if namespace:
        metadata["namespace"] = namespace
    if annotations:
        metadata["annotations"] = annotations
    metadata |= more.pop("metadata", {})
    return {"metadata": metadata, **more}


async def admit(
    plugin: type[AdmissionPlugin],
    resource: ResourceType,
    document: dict[str, Any] | None,
    *,
    operation: Operation = "CREATE",
    subresource: str = "",
    key: Key = Key("default", "x"),  # noqa: B008 (frozen)
    **objects: list[Document],
) -> Any:
    """The document after the plugin, as part of a chain."""
    chain = Chain([plugin(AdmissionContext(Objects(**objects), FakeClock(), Random(1)))])
    attributes = Attributes(operation, resource, subresource, key, User("u"), document)
    await chain.mutate(attributes)
    await chain.validate(attributes)
    return document


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c"}], **spec}}


# -- NamespaceLifecycle --------------------------------------------------------------------------------------------


async def test_nothing_is_made_in_a_namespace_that_is_missing_or_going() -> None:
    with pytest.raises(NotFound, match='namespaces "default" not found'):
        await admit(NamespaceLifecycle, resources.PODS, pod())
    going = named("default", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    with pytest.raises(Forbidden, match="because it is being terminated") as refused:
        await admit(NamespaceLifecycle, resources.PODS, pod(), namespaces=[going])
    assert refused.value.causes[0]["reason"] == "NamespaceTerminating"
    await admit(NamespaceLifecycle, resources.PODS, pod(), namespaces=[named("default")])
    # What is there may still change, and the cluster's own objects are in no namespace.
    await admit(NamespaceLifecycle, resources.PODS, pod(), operation="UPDATE", namespaces=[going])
    await admit(NamespaceLifecycle, resources.NODES, named("n"), key=Key("", "n"))


async def test_the_first_namespaces_stay() -> None:
    for name in ("default", "kube-system", "kube-public"):
        with pytest.raises(Forbidden, match=f'namespaces "{name}" is forbidden: this namespace may not be deleted'):
            await admit(NamespaceLifecycle, resources.NAMESPACES, None, operation="DELETE", key=Key("", name))
    await admit(NamespaceLifecycle, resources.NAMESPACES, None, operation="DELETE", key=Key("", "mine"))


# -- ServiceAccount ------------------------------------------------------------------------------------------------

ACCOUNT = named("default", "default")


async def test_a_pod_gets_the_default_account_and_its_token_in_every_container() -> None:
    spec = {"initContainers": [{"name": "i"}], "containers": [{"name": "c"}, {"name": "d"}]}
    made = (await admit(ServiceAccount, resources.PODS, pod(**spec), serviceaccounts=[ACCOUNT]))["spec"]
    assert (made["serviceAccountName"], made["serviceAccount"]) == ("default", "default")
    (volume,) = made["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert [next(iter(source)) for source in volume["projected"]["sources"]] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]
    mounts = [each["volumeMounts"] for each in [*made["initContainers"], *made["containers"]]]
    assert mounts == [[{"name": volume["name"], "readOnly": True, "mountPath": TOKEN_PATH}]] * 3


async def test_a_container_with_something_of_its_own_there_keeps_it() -> None:
    own = {"name": "mine", "mountPath": TOKEN_PATH}
    spec = {"containers": [{"name": "c", "volumeMounts": [own]}]}
    made = (await admit(ServiceAccount, resources.PODS, pod(**spec), serviceaccounts=[ACCOUNT]))["spec"]
    assert made["containers"][0]["volumeMounts"] == [own]
    assert "volumes" not in made


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [(None, None, True), (None, False, False), (True, False, True), (False, True, False)],
)
async def test_the_pod_and_then_its_account_say_whether_a_token_is_mounted(
    of_pod: bool | None, of_account: bool | None, mounted: bool
) -> None:
    field = "automountServiceAccountToken"
    account = ACCOUNT if of_account is None else {**ACCOUNT, field: of_account}
    spec = {} if of_pod is None else {field: of_pod}
    made = await admit(ServiceAccount, resources.PODS, pod(**spec), serviceaccounts=[account])
    assert ("volumes" in made["spec"]) == mounted


async def test_a_pod_of_an_account_that_is_missing_is_refused() -> None:
    with pytest.raises(Forbidden, match='error looking up service account default/robot: serviceaccount "robot" not'):
        await admit(ServiceAccount, resources.PODS, pod(serviceAccountName="robot"), serviceaccounts=[ACCOUNT])


async def test_pull_secrets_come_from_the_account_unless_the_pod_has_its_own() -> None:
    account = {**ACCOUNT, "imagePullSecrets": [{"name": "s"}]}
    made = await admit(ServiceAccount, resources.PODS, pod(), serviceaccounts=[account])
    assert made["spec"]["imagePullSecrets"] == [{"name": "s"}]
    own = pod(imagePullSecrets=[{"name": "t"}])
    made = await admit(ServiceAccount, resources.PODS, own, serviceaccounts=[account])
    assert made["spec"]["imagePullSecrets"] == [{"name": "t"}]


async def test_a_mirror_pod_has_no_account() -> None:
    mirror = pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
    assert "serviceAccountName" not in (await admit(ServiceAccount, resources.PODS, mirror))["spec"]
    mirror["spec"]["serviceAccountName"] = "robot"
    with pytest.raises(Forbidden, match="a mirror pod may not reference service accounts"):
        await admit(ServiceAccount, resources.PODS, mirror)


# -- Priority ------------------------------------------------------------------------------------------------------

HIGH = named("high", value=1000, preemptionPolicy="Never")
USUAL = named("usual", value=10, globalDefault=True)


@pytest.mark.parametrize(
    ("spec", "classes", "wanted"),
    [
        ({}, [], {"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}),
        ({}, [HIGH, USUAL], {"priority": 10, "priorityClassName": "usual"}),
        ({"priorityClassName": "high"}, [HIGH, USUAL], {"priority": 1000, "preemptionPolicy": "Never"}),
        ({"priorityClassName": "high", "priority": 1000}, [HIGH], {"priority": 1000}),
    ],
)
async def test_a_priority_class_becomes_a_number(
    spec: dict[str, Any], classes: list[Document], wanted: dict[str, Any]
) -> None:
    made = (await admit(Priority, resources.PODS, pod(**spec), priorityclasses=classes))["spec"]
    assert {name: made[name] for name in wanted} == wanted


async def test_another_default_class_counts_from_the_next_pod_on() -> None:
    objects = Objects(priorityclasses=[USUAL])
    plugin = Priority(AdmissionContext(objects, FakeClock(), Random(0)))

    async def priority() -> int:
        attributes = Attributes("CREATE", resources.PODS, "", Key("default", "x"), User("u"), pod())
        await plugin.mutate(attributes)
        assert attributes.object is not None
        return int(attributes.object["spec"]["priority"])

    assert await priority() == 10
    objects.change("priorityclasses", named("more", value=20, globalDefault=True))
    assert await priority() == 20


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"priorityClassName": "nosuch"}, "no PriorityClass with name nosuch was found"),
        ({"priority": 5}, r"the integer value of priority \(5\) must not be provided in pod spec"),
        ({"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"}, "the string value of Preemption"),
    ],
)
async def test_a_priority_that_contradicts_its_class_is_refused(spec: dict[str, Any], why: str) -> None:
    with pytest.raises(Forbidden, match=why):
        await admit(Priority, resources.PODS, pod(**spec), priorityclasses=[HIGH])


# -- the others ----------------------------------------------------------------------------------------------------


async def test_a_pod_stays_five_minutes_on_a_node_in_trouble_unless_it_says_otherwise() -> None:
    made = (await admit(DefaultTolerationSeconds, resources.PODS, pod()))["spec"]["tolerations"]
    assert [(each["key"].rpartition("/")[2], each["tolerationSeconds"]) for each in made] == [
        ("not-ready", 300),
        ("unreachable", 300),
    ]
    everything = [{"operator": "Exists"}]
    assert (await admit(DefaultTolerationSeconds, resources.PODS, pod(tolerations=everything)))["spec"][
        "tolerations"
    ] == everything
    one = [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]
    kept = (await admit(DefaultTolerationSeconds, resources.PODS, pod(tolerations=one)))["spec"]["tolerations"]
    assert (kept[0], len(kept)) == (one[0], 2)


@pytest.mark.parametrize(
    ("plugin", "resource", "field", "plural", "mark"),
    [
        (DefaultStorageClass, CLAIMS, "storageClassName", "storageclasses", DEFAULT_STORAGE),
        (DefaultIngressClass, INGRESSES, "ingressClassName", "ingressclasses", DEFAULT_INGRESS),
    ],
)
async def test_the_newest_default_class_is_taken_where_none_is_named(
    plugin: type[AdmissionPlugin], resource: ResourceType, field: str, plural: str, mark: str
) -> None:
    classes: Any = {
        plural: [
            named("old", annotations={mark: "true"}),
            named("new", annotations={mark: "true"}, created="2026-02-01T00:00:00Z"),
            named("not", annotations={mark: "false"}, created="2026-03-01T00:00:00Z"),
        ]
    }
    assert (await admit(plugin, resource, named("x"), **classes))["spec"] == {field: "new"}
    assert (await admit(plugin, resource, named("x", spec={field: ""}), **classes))["spec"] == {field: ""}
    assert (await admit(plugin, resource, named("x")))["spec"] == {}
    updated = await admit(plugin, resource, named("x", spec={}), operation="UPDATE", **classes)
    assert updated["spec"] == {}


async def test_claims_and_volumes_are_kept_while_they_are_in_use() -> None:
    made = await admit(StorageObjectInUseProtection, CLAIMS, named("x", metadata={"finalizers": ["mine"]}))
    assert made["metadata"]["finalizers"] == ["mine", "kubernetes.io/pvc-protection"]
    again = await admit(StorageObjectInUseProtection, CLAIMS, made)
    assert again["metadata"]["finalizers"] == ["mine", "kubernetes.io/pvc-protection"]


async def test_a_new_node_is_not_ready_until_somebody_says_so() -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    other = {"key": "mine", "effect": "NoExecute"}
    made = await admit(TaintNodesByCondition, resources.NODES, named("n", spec={"taints": [other]}))
    assert made["spec"]["taints"] == [other, taint]
    assert (await admit(TaintNodesByCondition, resources.NODES, made))["spec"]["taints"] == [other, taint]


@pytest.mark.parametrize("plugin", [ServiceAccount, Priority, DefaultTolerationSeconds])
async def test_subresources_of_pods_are_let_be(plugin: type[AdmissionPlugin]) -> None:
    binding = {"metadata": {"name": "x"}, "target": {"name": "n"}}
    assert await admit(plugin, resources.PODS, dict(binding), subresource="binding") == binding
