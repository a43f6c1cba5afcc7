"""Deletes, without HTTP: grace, finalizers, preconditions, and what follows the object that goes."""

from ovnk.lab.apiserver.deletion import Delete
from tests.lab.apiserver.cluster import CONFIG_MAPS, NAMESPACES, PODS, WRITE, Cluster, config_map, owned_by, pod


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
