"""The official Python client against the embedded API server: models, patches, watches and its errors."""

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, watch

from tests.lab.apiserver.running import Running, api_server


@pytest.fixture(scope="module")
def api() -> Iterator[client.ApiClient]:
    with api_server(tls=True) as server:
        yield connected(server)


def connected(server: Running) -> client.ApiClient:
    return config.new_client_from_config(config_file=str(server.kubeconfig))


def pod(name: str) -> Any:
    container = client.V1Container(name="c", image="nginx", ports=[client.V1ContainerPort(container_port=80)])
    metadata = client.V1ObjectMeta(name=name, labels={"app": name})
    return client.V1Pod(metadata=metadata, spec=client.V1PodSpec(containers=[container]))


def test_pods_are_created_read_patched_listed_and_deleted(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespaced_pod("default", pod("one"))
    assert made.status.phase == "Pending"
    assert made.spec.containers[0].ports[0].protocol == "TCP"
    core.patch_namespaced_pod("one", "default", {"metadata": {"labels": {"tier": "front"}}})
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    core.patch_namespaced_pod_status("one", "default", ready)
    (found,) = core.list_namespaced_pod("default", label_selector="tier=front").items
    assert (found.metadata.name, found.status.phase) == ("one", "Running")
    core.delete_namespaced_pod("one", "default")
    with pytest.raises(client.ApiException) as gone:
        core.read_namespaced_pod("one", "default")
    assert gone.value.status == 404


def test_a_watch_sees_every_change_from_where_a_list_ended(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    version = core.list_namespaced_pod("default").metadata.resource_version
    core.create_namespaced_pod("default", pod("seen"))
    core.patch_namespaced_pod("seen", "default", {"metadata": {"labels": {"a": "b"}}})
    core.delete_namespaced_pod("seen", "default")
    stream = watch.Watch()
    seen = []
    for event in stream.stream(core.list_namespaced_pod, "default", resource_version=version, timeout_seconds=10):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 3:
            stream.stop()
    assert seen == [("ADDED", "seen"), ("MODIFIED", "seen"), ("DELETED", "seen")]


def test_a_node_namespace_and_lease_are_kept_as_controllers_keep_them(api: client.ApiClient) -> None:
    core, coordination = client.CoreV1Api(api), client.CoordinationV1Api(api)
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="team")))
    made = core.create_node({"metadata": {"name": "n1"}, "spec": {"podCIDRs": ["10.244.1.0/24"]}})
    assert made.spec.pod_cidr == "10.244.1.0/24"
    spec = client.V1LeaseSpec(holder_identity="me", lease_duration_seconds=15)
    lease = client.V1Lease(metadata=client.V1ObjectMeta(name="leader"), spec=spec)
    held = coordination.create_namespaced_lease("team", lease)
    held.spec.holder_identity = "you"
    coordination.replace_namespaced_lease("leader", "team", held)
    with pytest.raises(client.ApiException) as late:
        coordination.replace_namespaced_lease("leader", "team", held)
    assert late.value.status == 409


def test_custom_objects_are_created_once_their_definition_is(api: client.ApiClient) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "gears", "kind": "Gear"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    body = {"metadata": {"name": "gears.example.com"}, "spec": spec}
    client.ApiextensionsV1Api(api).create_custom_resource_definition(body)
    custom = client.CustomObjectsApi(api)
    place = ("example.com", "v1", "default", "gears")
    gear = {"apiVersion": "example.com/v1", "kind": "Gear", "metadata": {"name": "g"}, "spec": {"size": 1}}
    custom.create_namespaced_custom_object(*place, gear)
    custom.patch_namespaced_custom_object(*place, "g", {"spec": {"size": 2}})
    assert custom.get_namespaced_custom_object(*place, "g")["spec"] == {"size": 2}
    with pytest.raises(client.ApiException) as refused:
        custom.create_namespaced_custom_object(*place, {**gear, "metadata": {"name": "h"}, "spec": {"size": "big"}})
    assert refused.value.status == 422
