"""The verbs without HTTP: creating, changing and applying, and what is stored of it."""

import copy
from typing import Any

from ovnk.lab.apiserver import patches
from ovnk.lab.apiserver.bodies import Write
from ovnk.lab.apiserver.deletion import Delete
from tests.lab.apiserver.cluster import (
    CONFIG_MAPS,
    CORE_EVENTS,
    DEPLOYMENTS,
    NEW_EVENTS,
    NODES,
    PODS,
    SECRETS,
    WRITE,
    Cluster,
    config_map,
    deployment,
    pod,
)


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
