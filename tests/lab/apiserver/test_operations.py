"""The verbs without HTTP: creating, locking, deleting, and what follows a delete."""

import copy
import ipaddress
from typing import Any

import pytest

from ovnk.lab.apiserver import kinds, patches, services
from ovnk.lab.apiserver.bodies import Write
from ovnk.lab.apiserver.collection import Collector
from ovnk.lab.apiserver.deletion import Delete
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.operations import Operations
from ovnk.lab.apiserver.registry import Registry
from ovnk.lab.apiserver.status import StatusError
from ovnk.lab.apiserver.store import Store
from ovnk.lab.apiserver.stored import Stored

PODS, NAMESPACES, CONFIG_MAPS = kinds.built_in("pods"), kinds.built_in("namespaces"), kinds.built_in("configmaps")
DEPLOYMENTS, DEFINITIONS = (
    kinds.built_in("deployments", "apps"),
    kinds.built_in("customresourcedefinitions", "apiextensions.k8s.io"),
)
NODES, SECRETS = kinds.built_in("nodes"), kinds.built_in("secrets")
CORE_EVENTS, NEW_EVENTS = kinds.built_in("events"), kinds.built_in("events", "events.k8s.io")
WRITE = Write("test")


class Cluster:
    """Operations over an empty store with namespace default; deletes are followed up by hand."""

    def __init__(self, cidrs: tuple[str, ...] = ("10.96.0.0/24",)) -> None:
        self.store = Store()
        self.registry = Registry(self.store)
        networks = tuple(ipaddress.ip_network(cidr) for cidr in cidrs)
        self.operations = Operations(self.store, self.registry, services.ServiceAddresses(self.store, networks))
        self.collector = Collector(self.operations, lambda: None)
        self.create(NAMESPACES, {"metadata": {"name": "default"}})

    def create(
        self, kind: Kind, body: dict[str, Any], namespace: str = "default", write: Write = WRITE
    ) -> dict[str, Any]:
        return self.operations.create(kind, namespace if kind.namespaced else "", copy.deepcopy(body), write).value

    def get(self, kind: Kind, name: str, namespace: str = "default") -> dict[str, Any] | None:
        stored = self.store.get(kind.storage, namespace if kind.namespaced else "", name)
        return None if stored is None else stored.value

    def patch(
        self, kind: Kind, name: str, patch: Any, subresource: str = "", media_type: str = patches.MERGE
    ) -> dict[str, Any]:
        write = Write("test", subresource=subresource)
        namespace = "default" if kind.namespaced else ""
        return self.operations.patch(kind, namespace, name, media_type, patch, write).value

    def delete(self, kind: Kind, name: str, **options: Any) -> tuple[Stored, bool]:
        return self.operations.delete(kind, "default" if kind.namespaced else "", name, Delete(**options))

    def refusal(self, call: Any, *arguments: Any, **more: Any) -> StatusError:
        with pytest.raises(StatusError) as refused:
            call(*arguments, **more)
        return refused.value


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def pod(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def config_map(name: str = "a", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **more.pop("metadata", {})}
    return {"metadata": metadata, "data": {"k": "v"}, **more}


def test_a_new_object_gets_identity_and_its_status_is_the_servers(cluster: Cluster) -> None:
    made = cluster.create(PODS, {**pod(), "status": {"phase": "Running"}})
    metadata = made["metadata"]
    assert metadata["uid"]
    assert metadata["generation"] == 1
    assert metadata["namespace"] == "default"
    assert metadata["creationTimestamp"].endswith("Z")
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert made["spec"]["restartPolicy"] == "Always"


def test_a_generated_name_is_the_prefix_and_five_characters(cluster: Cluster) -> None:
    name = cluster.create(CONFIG_MAPS, {"metadata": {"generateName": "a-"}})["metadata"]["name"]
    assert name.startswith("a-")
    assert len(name) == 7


def test_what_cannot_be_created_is_refused_by_its_reason(cluster: Cluster) -> None:
    cluster.create(CONFIG_MAPS, config_map())
    for code, reason, body, namespace in (
        (409, "AlreadyExists", config_map(), "default"),
        (404, "NotFound", config_map(), "nowhere"),
        (422, "Invalid", config_map("Upper"), "default"),
        (422, "Invalid", {"metadata": {}}, "default"),
        (400, "BadRequest", config_map("b", kind="Pod"), "default"),
        (400, "BadRequest", config_map("b", metadata={"namespace": "other"}), "default"),
        (400, "BadRequest", config_map("b", metadata={"resourceVersion": "1"}), "default"),
        (400, "BadRequest", config_map("b", metadata={"labels": 5}), "default"),
        (422, "Invalid", config_map("b", metadata={"labels": {"a": "b c"}}), "default"),
        (422, "Invalid", config_map("b", metadata={"ownerReferences": [{"name": "x"}]}), "default"),
        (400, "BadRequest", [], "default"),
    ):
        refused = cluster.refusal(cluster.create, CONFIG_MAPS, body, namespace)
        assert (refused.code, refused.reason) == (code, reason), body


def test_unknown_fields_are_refused_told_or_dropped_as_asked(cluster: Cluster) -> None:
    body = {"metadata": {"name": "x"}, "dta": {"a": "b"}, "data": {"a": "b"}}
    refused = cluster.refusal(cluster.create, CONFIG_MAPS, body, write=Write("t", field_validation="Strict"))
    assert 'strict decoding error: unknown field "dta"' in refused.message
    write = Write("t")
    assert "dta" not in cluster.create(CONFIG_MAPS, body, write=write)
    assert write.warnings == ['unknown field "dta"']


def test_an_update_with_an_old_version_is_a_conflict_and_without_one_is_not(cluster: Cluster) -> None:
    old = cluster.create(CONFIG_MAPS, config_map())
    cluster.patch(CONFIG_MAPS, "a", {"data": {"k": "w"}})
    stale = {**copy.deepcopy(old), "data": {"k": "x"}}
    refused = cluster.refusal(cluster.operations.update, CONFIG_MAPS, "default", "a", stale, WRITE)
    assert (refused.code, refused.reason) == (409, "Conflict")
    assert "the object has been modified" in refused.message
    del stale["metadata"]["resourceVersion"]
    assert cluster.operations.update(CONFIG_MAPS, "default", "a", stale, WRITE).value["data"] == {"k": "x"}
    refused = cluster.refusal(cluster.patch, CONFIG_MAPS, "a", {"metadata": {"resourceVersion": "1"}})
    assert refused.code == 409
    refused = cluster.refusal(cluster.patch, CONFIG_MAPS, "a", {"metadata": {"uid": "other"}})
    assert refused.code == 409


def test_a_write_that_changes_nothing_has_no_version(cluster: Cluster) -> None:
    before = cluster.create(DEPLOYMENTS, deployment())
    assert cluster.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 1}}) is not None
    after = cluster.get(DEPLOYMENTS, "d")
    assert after == before


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": pod()["spec"]}
    return {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template, **spec},
    }


def test_generation_counts_changes_of_the_spec_alone(cluster: Cluster) -> None:
    cluster.create(DEPLOYMENTS, deployment())
    cluster.patch(DEPLOYMENTS, "d", {"metadata": {"labels": {"a": "b"}}})
    cluster.patch(DEPLOYMENTS, "d", {"status": {"replicas": 1}}, "status")
    assert (cluster.get(DEPLOYMENTS, "d") or {})["metadata"]["generation"] == 1
    cluster.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 3}})
    assert (cluster.get(DEPLOYMENTS, "d") or {})["metadata"]["generation"] == 2


def test_a_write_to_the_object_keeps_its_status_and_one_to_the_status_the_rest(cluster: Cluster) -> None:
    cluster.create(PODS, pod())
    cluster.patch(PODS, "web", {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}}, "status")
    shown = cluster.patch(PODS, "web", {"status": {"phase": "Failed"}, "metadata": {"labels": {"a": "b"}}})
    assert shown["status"]["phase"] == "Running"
    assert "nodeName" not in shown["spec"]
    cluster.patch(PODS, "web", {"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}, "status")
    assert (cluster.get(PODS, "web") or {})["status"]["podIP"] == "10.0.0.1"


def test_what_is_fixed_in_a_pod_stays_and_its_image_may_change(cluster: Cluster) -> None:
    cluster.create(PODS, pod())
    cluster.operations.bind("default", "web", "n1", {}, WRITE)
    refused = cluster.refusal(cluster.patch, PODS, "web", {"spec": {"nodeName": "n2"}})
    assert refused.code == 422
    assert "pod updates may not change fields other than" in refused.message
    assert cluster.refusal(cluster.operations.bind, "default", "web", "n2", {}, WRITE).code == 409
    containers = [{"name": "c", "image": "j"}]
    changed = cluster.patch(PODS, "web", {"spec": {"containers": containers}}, media_type=patches.STRATEGIC)
    assert changed["spec"]["containers"][0]["image"] == "j"
    conditions = {one["type"]: one["status"] for one in changed["status"]["conditions"]}
    assert conditions == {"PodScheduled": "True"}


def test_a_dry_run_answers_and_stores_nothing(cluster: Cluster) -> None:
    dry = Write("t", dry_run=True)
    version = cluster.store.version
    assert cluster.create(PODS, pod(), write=dry)["metadata"]["uid"]
    assert cluster.get(PODS, "web") is None
    cluster.create(PODS, pod())
    assert cluster.operations.delete(PODS, "default", "web", Delete(dry_run=True))[1]
    assert cluster.get(PODS, "web") is not None
    assert cluster.store.version == version + 1


def test_a_pod_on_a_node_stays_until_its_kubelet_deletes_it_with_grace_zero(cluster: Cluster) -> None:
    cluster.create(PODS, pod())
    cluster.operations.bind("default", "web", "n1", {}, WRITE)
    stored, gone = cluster.delete(PODS, "web")
    assert not gone
    assert stored.value["metadata"]["deletionGracePeriodSeconds"] == 30
    version = cluster.store.version
    assert cluster.delete(PODS, "web") == (cluster.store.get(PODS.storage, "default", "web"), False)
    assert cluster.store.version == version
    cluster.delete(PODS, "web", grace_s=5)
    assert (cluster.get(PODS, "web") or {})["metadata"]["deletionGracePeriodSeconds"] == 5
    assert cluster.delete(PODS, "web", grace_s=0)[1]
    assert cluster.get(PODS, "web") is None


def test_a_pod_no_node_runs_goes_at_once(cluster: Cluster) -> None:
    cluster.create(PODS, pod())
    assert cluster.delete(PODS, "web")[1]
    cluster.create(PODS, pod())
    cluster.operations.bind("default", "web", "n1", {}, WRITE)
    cluster.patch(PODS, "web", {"status": {"phase": "Succeeded"}}, "status")
    assert cluster.delete(PODS, "web")[1]


def test_finalizers_hold_an_object_until_the_last_is_taken(cluster: Cluster) -> None:
    cluster.create(CONFIG_MAPS, config_map(metadata={"finalizers": ["example.com/a", "example.com/b"]}))
    assert not cluster.delete(CONFIG_MAPS, "a")[1]
    held = cluster.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": ["example.com/b"]}})
    assert held["metadata"]["deletionTimestamp"]
    refused = cluster.refusal(
        cluster.patch, CONFIG_MAPS, "a", {"metadata": {"finalizers": ["example.com/b", "example.com/c"]}}
    )
    assert refused.code == 422
    cluster.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}})
    assert cluster.get(CONFIG_MAPS, "a") is None


def test_preconditions_of_a_delete_are_checked(cluster: Cluster) -> None:
    made = cluster.create(CONFIG_MAPS, config_map())
    assert cluster.refusal(cluster.delete, CONFIG_MAPS, "a", uid="other").code == 409
    assert cluster.refusal(cluster.delete, CONFIG_MAPS, "a", resource_version="1").code == 409
    assert cluster.delete(CONFIG_MAPS, "a", uid=made["metadata"]["uid"])[1]


def owned_by(owner: dict[str, Any], **more: Any) -> dict[str, Any]:
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {"ownerReferences": [{**reference, **more}]}


def test_owned_objects_go_after_their_owner_and_so_do_theirs(cluster: Cluster) -> None:
    owner = cluster.create(CONFIG_MAPS, config_map("owner"))
    child = cluster.create(CONFIG_MAPS, config_map("child", metadata=owned_by(owner)))
    cluster.create(CONFIG_MAPS, config_map("grandchild", metadata=owned_by(child)))
    cluster.delete(CONFIG_MAPS, "owner")
    assert cluster.get(CONFIG_MAPS, "child") is not None
    cluster.collector.run()
    assert cluster.get(CONFIG_MAPS, "child") is None
    assert cluster.get(CONFIG_MAPS, "grandchild") is None


def test_an_object_with_a_second_owner_stays(cluster: Cluster) -> None:
    one, two = (cluster.create(CONFIG_MAPS, config_map(name)) for name in ("one", "two"))
    both = {"ownerReferences": owned_by(one)["ownerReferences"] + owned_by(two)["ownerReferences"]}
    cluster.create(CONFIG_MAPS, config_map("child", metadata=both))
    cluster.delete(CONFIG_MAPS, "one")
    cluster.collector.run()
    assert cluster.get(CONFIG_MAPS, "child") is not None
    cluster.delete(CONFIG_MAPS, "two")
    cluster.collector.run()
    assert cluster.get(CONFIG_MAPS, "child") is None


def test_foreground_deletes_owned_objects_first_and_orphan_lets_them_be(cluster: Cluster) -> None:
    owner = cluster.create(CONFIG_MAPS, config_map("owner"))
    finalizers = {"finalizers": ["example.com/a"]}
    cluster.create(
        CONFIG_MAPS, config_map("child", metadata={**owned_by(owner, blockOwnerDeletion=True), **finalizers})
    )
    cluster.delete(CONFIG_MAPS, "owner", propagation="Foreground")
    cluster.collector.run()
    assert (cluster.get(CONFIG_MAPS, "owner") or {})["metadata"]["finalizers"] == ["foregroundDeletion"]
    cluster.patch(CONFIG_MAPS, "child", {"metadata": {"finalizers": None}})
    cluster.collector.run()
    assert cluster.get(CONFIG_MAPS, "child") is None
    assert cluster.get(CONFIG_MAPS, "owner") is None

    owner = cluster.create(CONFIG_MAPS, config_map("owner"))
    cluster.create(CONFIG_MAPS, config_map("child", metadata=owned_by(owner)))
    cluster.delete(CONFIG_MAPS, "owner", propagation="Orphan")
    cluster.collector.run()
    assert cluster.get(CONFIG_MAPS, "owner") is None
    assert "ownerReferences" not in (cluster.get(CONFIG_MAPS, "child") or {})["metadata"]


def test_a_namespace_takes_its_content_with_it_and_waits_for_what_stays(cluster: Cluster) -> None:
    cluster.create(NAMESPACES, {"metadata": {"name": "shop"}})
    cluster.create(CONFIG_MAPS, config_map(), "shop")
    cluster.create(PODS, pod(), "shop")
    cluster.operations.bind("shop", "web", "n1", {}, WRITE)
    cluster.operations.delete(NAMESPACES, "", "shop", Delete())
    cluster.collector.run()
    assert (cluster.get(NAMESPACES, "shop") or {})["status"]["phase"] == "Terminating"
    assert cluster.get(CONFIG_MAPS, "a", "shop") is None
    refused = cluster.refusal(cluster.create, CONFIG_MAPS, config_map(), "shop")
    assert (refused.code, refused.reason) == (403, "Forbidden")
    assert "because it is being terminated" in refused.message
    cluster.operations.delete(PODS, "shop", "web", Delete(grace_s=0))
    cluster.collector.run()
    assert cluster.get(NAMESPACES, "shop") is None
    assert cluster.create(NAMESPACES, {"metadata": {"name": "shop"}})["status"]["phase"] == "Active"


def definition(**names: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
            "status": {"type": "object"},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    second = {**version, "name": "v2beta1", "storage": False}
    return {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "widgets", "kind": "Widget", **names},
            "versions": [version, second],
        },
    }


def test_a_custom_kind_is_served_with_its_definition_and_gone_with_it(cluster: Cluster) -> None:
    made = cluster.create(DEFINITIONS, definition())
    assert {one["type"]: one["status"] for one in made["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    kind = cluster.registry.find("example.com", "v1", "widgets")
    assert kind is not None
    assert cluster.registry.groups()["example.com"] == ["v1", "v2beta1"]
    cluster.create(kind, {"metadata": {"name": "w"}, "spec": {"size": 1, "colour": "red"}})
    assert (cluster.get(kind, "w") or {})["spec"] == {"size": 1}
    assert cluster.refusal(cluster.create, kind, {"metadata": {"name": "x"}, "spec": {"size": "1"}}).code == 422
    cluster.delete(DEFINITIONS, "widgets.example.com")
    cluster.collector.run()
    assert cluster.get(DEFINITIONS, "widgets.example.com") is None
    assert cluster.registry.find("example.com", "v1", "widgets") is None
    assert cluster.store.select(kind.storage) == []


def test_two_definitions_of_one_kind_are_not_both_served(cluster: Cluster) -> None:
    cluster.create(DEFINITIONS, definition())
    other = definition(plural="gadgets")
    other["metadata"]["name"] = "gadgets.example.com"
    conditions = cluster.create(DEFINITIONS, other)["status"]["conditions"]
    assert [one["status"] for one in conditions] == ["False", "False"]
    assert cluster.registry.find("example.com", "v1", "gadgets") is None


@pytest.mark.parametrize(
    "change",
    [
        {"group": "other.com"},
        {"scope": "Galaxy"},
        {"versions": []},
        {"versions": [{"name": "v1"}]},
        {"versions": [{"name": "v1", "served": True, "storage": True}]},
        {
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "array"}}}
            ]
        },
        {
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": []}},
                }
            ]
        },
        {
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "what"}}}},
                }
            ]
        },
        {"names": {"plural": "Widgets", "kind": "Widget"}},
    ],
)
def test_a_definition_that_cannot_be_served_is_refused(cluster: Cluster, change: dict[str, Any]) -> None:
    body = definition()
    body["spec"].update(change)
    assert cluster.refusal(cluster.create, DEFINITIONS, body).code == 422


def test_an_event_is_one_object_under_two_kinds(cluster: Cluster) -> None:
    event = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "web"},
        "note": "hello",
        "reason": "R",
        "eventTime": "2026-11-25T10:00:00.000000Z",
        "reportingController": "x",
        "type": "Normal",
    }
    cluster.create(NEW_EVENTS, event)
    stored = cluster.get(CORE_EVENTS, "e") or {}
    assert stored["message"] == "hello"
    assert stored["involvedObject"] == {"kind": "Pod", "name": "web"}
    assert stored["apiVersion"] == "v1"
    cluster.patch(NEW_EVENTS, "e", {"note": "again"})
    assert (cluster.get(CORE_EVENTS, "e") or {})["message"] == "again"


def test_secrets_take_strings_and_config_maps_may_be_immutable(cluster: Cluster) -> None:
    made = cluster.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert made["data"] == {"a": "Yg=="}
    assert made["type"] == "Opaque"
    assert cluster.refusal(cluster.create, SECRETS, {"metadata": {"name": "t"}, "data": {"a": "%"}}).code == 400
    cluster.create(CONFIG_MAPS, config_map(immutable=True))
    assert cluster.refusal(cluster.patch, CONFIG_MAPS, "a", {"data": {"k": "w"}}).code == 422


def test_a_kubelet_creates_its_node_with_status_and_both_names_of_the_pod_cidr(cluster: Cluster) -> None:
    made = cluster.create(
        NODES, {"metadata": {"name": "n"}, "spec": {"podCIDRs": ["10.0.0.0/24"]}, "status": {"phase": "x"}}
    )
    assert made["spec"]["podCIDR"] == "10.0.0.0/24"
    assert made["status"] == {"phase": "x"}
    assert cluster.refusal(cluster.patch, NODES, "n", {"spec": {"podCIDRs": ["10.0.1.0/24"]}}).code == 422


def test_apply_creates_merges_and_removes_and_asks_before_it_takes(cluster: Cluster) -> None:
    def apply(manager: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
        body = {"apiVersion": "apps/v1", "kind": "Deployment", **copy.deepcopy(body)}
        return cluster.operations.apply(DEPLOYMENTS, "default", "d", body, Write(manager, **more))[0].value

    made = apply("a", deployment(replicas=2, paused=True))
    assert [one["manager"] for one in made["metadata"]["managedFields"]] == ["a"]
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    version = cluster.store.version
    apply("a", deployment(replicas=2, paused=True))
    assert cluster.store.version == version
    refused = cluster.refusal(apply, "b", deployment(replicas=3))
    assert (refused.code, refused.reason) == (409, "Conflict")
    assert (refused.details or {})["causes"][0] == {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "a"',
        "field": ".spec.replicas",
    }
    assert apply("b", {"metadata": {"name": "d"}, "spec": {"replicas": 3}}, force=True)["spec"]["replicas"] == 3
    left = apply("a", deployment())
    assert "paused" not in left["spec"]
    assert left["spec"]["replicas"] == 3
    assert apply("b", {"metadata": {"name": "d"}, "spec": {}})["spec"]["replicas"] == 1
    dry = apply("c", deployment(paused=True), dry_run=True)
    assert dry["spec"]["paused"]
    assert "paused" not in (cluster.get(DEPLOYMENTS, "d") or {})["spec"]


def test_a_status_applier_owns_the_status_and_nothing_else(cluster: Cluster) -> None:
    cluster.create(DEPLOYMENTS, deployment())
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "status": {"replicas": 4},
        "spec": {"replicas": 9},
    }
    shown = cluster.operations.apply(DEPLOYMENTS, "default", "d", body, Write("s", subresource="status"))[0].value
    assert shown["status"] == {"replicas": 4}
    assert shown["spec"]["replicas"] == 1
    (entry,) = [one for one in shown["metadata"]["managedFields"] if one["manager"] == "s"]
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:replicas": {}}}


def test_stored_values_are_never_changed_by_later_writes(cluster: Cluster) -> None:
    kept = [cluster.create(DEPLOYMENTS, deployment())]
    copies = [copy.deepcopy(kept[0])]
    for step in (
        lambda: cluster.patch(DEPLOYMENTS, "d", {"metadata": {"labels": {"a": "b"}}}),
        lambda: cluster.patch(
            DEPLOYMENTS, "d", {"spec": {"template": {"metadata": {"labels": {"x": "y"}}}}}, media_type=patches.STRATEGIC
        ),
        lambda: cluster.patch(DEPLOYMENTS, "d", {"status": {"replicas": 1}}, "status"),
        lambda: cluster.patch(
            DEPLOYMENTS, "d", [{"op": "add", "path": "/spec/paused", "value": True}], media_type=patches.JSON
        ),
        lambda: (
            cluster.operations.apply(
                DEPLOYMENTS,
                "default",
                "d",
                {"kind": "Deployment", "apiVersion": "apps/v1", **deployment(replicas=4)},
                Write("a", force=True),
            )[0].value
        ),
        lambda: cluster.delete(DEPLOYMENTS, "d", propagation="Foreground")[0].value,
    ):
        kept.append(step())
        copies.append(copy.deepcopy(kept[-1]))
        assert kept == copies
