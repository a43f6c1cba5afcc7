"""The controller between a real northbound and an API server: starts, drift, others' edits, objects that are wrong."""

import contextlib
import functools

import pytest

from ovnk.translate import pods
from tests.controllers import NODE_NETWORKS, with_world

pytestmark = pytest.mark.system

NODES, PODS = "/api/v1/nodes", "/api/v1/namespaces/shop/pods"


def test_a_start_over_an_unchanged_state_writes_nothing(tmp_path):
    async def case(world):
        await world.node()
        await world.pod()
        async with world.controller():
            await world.port()
            await world.until(lambda: world.pods_on_record("web-0"), "the pod's address on record")
        rows, size, record = world.northbound.versions(), world.northbound.size(), await world.get(NODE_NETWORKS)
        world.api.written.clear()
        world.logs.clear()
        async with world.controller():
            await world.until(lambda: world.logged("northbound compared"), "the second start")
            assert (world.northbound.versions(), world.northbound.size()) == (rows, size)
            assert (await world.get(NODE_NETWORKS))["items"] == record["items"]
            await world.pod("web-1")
            await world.port("shop/web-1")
            assert {uuid for uuid, version in rows.items() if world.northbound.versions()[uuid] != version} == {
                world.row("Logical_Switch", "node-1")["_uuid"][1]
            }
            await world.until(lambda: world.pods_on_record("web-0", "web-1"), "the second pod's address on record")
        assert set(world.api.written) == {f"PUT {NODE_NETWORKS}/node-1"}

    with_world(tmp_path, case)


def test_rows_that_others_edit_or_delete_are_put_right_and_rows_of_others_are_left(tmp_path):
    async def case(world):
        await world.node()
        await world.pod()
        async with world.controller():
            port = await world.port()
            mine = {"name": "mine", "external_ids": ["map", [["neutron:x", "y"]]]}
            world.northbound.transact({"op": "insert", "table": "Logical_Switch", "row": mine})
            where = [["name", "==", "shop/web-0"]]
            edit = {"op": "update", "table": "Logical_Switch_Port", "where": where, "row": {"addresses": "unknown"}}
            world.northbound.transact(edit)
            await world.until(
                lambda: world.row("Logical_Switch_Port", "shop/web-0")["addresses"] == port["addresses"],
                "the addresses",
            )
            before = world.row("Logical_Switch", "node-1")
            world.northbound.transact({"op": "delete", "table": "Logical_Switch", "where": [["name", "==", "node-1"]]})
            await world.until(lambda: world.row("Logical_Switch", "node-1"), "the switch")
            assert world.row("Logical_Switch", "node-1") | {"_version": ""} == before | {"_version": ""}
            assert (await world.port())["_uuid"] == port["_uuid"]
            assert world.row("Logical_Switch", "mine")["external_ids"] == mine["external_ids"]
        assert world.row("Logical_Switch", "mine")

    with_world(tmp_path, case)


def test_a_node_network_that_somebody_edits_is_put_right_and_told(tmp_path):
    async def case(world):
        await world.node()
        await world.pod()
        async with world.controller():
            await world.until(lambda: world.pods_on_record("web-0"), "the pod's address on record")
            await world.patch(f"{NODE_NETWORKS}/node-1", {"spec": {"pods": []}})
            await world.until(lambda: world.pods_on_record("web-0"), "the record as it was")
            await world.until(lambda: world.told("NodeNetwork/node-1", "Restored"), "an Event")

    with_world(tmp_path, case)


def test_a_node_network_that_somebody_wrote_in_between_is_taken_over_anew(tmp_path):
    """Our write is refused for its resourceVersion: what stands there is looked at before we write again."""

    async def case(world):
        await world.node()
        await world.pod()

        async def meddle(request):
            if request.method == "PUT" and request.path == f"{NODE_NETWORKS}/node-1":
                world.api.fault = None
                await world.patch(request.path, {"metadata": {"labels": {"edited": "yes"}}})

        async with world.controller():
            await world.until(lambda: world.pods_on_record("web-0"), "the pod's address on record")
            world.api.fault = meddle
            await world.pod("web-1")
            await world.until(lambda: world.pods_on_record("web-0", "web-1"), "both addresses on record")
            assert world.logged("somebody else wrote a NodeNetwork; taking over anew")
            addresses = {ip for pod in (await world.node_network())["pods"] for ip in pod["ips"]}
            assert len(addresses) == 2

    with_world(tmp_path, case)


def test_a_standby_takes_over_at_once_and_writes_nothing(tmp_path):
    async def case(world):
        await world.node()
        await world.pod()
        async with contextlib.AsyncExitStack() as first:
            await first.enter_async_context(world.controller("one"))
            await world.until(lambda: world.pods_on_record("web-0"), "the pod's address on record")
            async with world.controller("two") as second:
                await world.until(lambda: not second.health.why_not_ready(), "the standby")
                assert second.health.degraded() == []
                rows = world.northbound.versions()
                world.api.written.clear()
                world.logs.clear()
                await first.aclose()
                await world.until(lambda: world.logged("northbound compared"), "the second leader")
                assert world.northbound.versions() == rows
                await world.pod("web-1")
                await world.until(lambda: world.pods_on_record("web-0", "web-1"), "a new pod")
        assert set(world.api.written) == {f"PUT {NODE_NETWORKS}/node-1"}

    with_world(tmp_path, case)


@pytest.mark.parametrize(
    ("name", "spec", "says"),
    [
        (
            "canonical",
            {"podCIDRs": ["10.244.7.1/24"]},
            "spec.podCIDRs[0] cannot be used: 10.244.7.1/24 has host bits set",
        ),
        ("three", {"podCIDRs": ["10.244.7.0/24", "10.244.8.0/24", "10.244.9.0/24"]}, "spec.podCIDRs has 3 entries"),
        ("elsewhere", {"podCIDRs": ["172.16.0.0/24"]}, 'spec.podCIDRs "172.16.0.0/24" is not within the cluster'),
        ("tiny", {"podCIDRs": ["10.244.7.0/31"]}, "has no room for a router, a management port and a pod"),
        ("family", {"podCIDRs": ["fd00:7::/64"]}, "is of a family that the cluster's networks have not"),
        ("overlap", {"podCIDRs": ["10.244.4.0/22"]}, 'overlaps "10.244.5.0/24" of node "node-1"'),
        ("twice", {"podCIDRs": ["10.244.5.0/24"]}, 'overlaps "10.244.5.0/24" of node "node-1"'),
    ],
)
def test_a_node_that_cannot_be_served_says_why_and_is_served_when_it_is_mended(tmp_path, name, spec, says):
    async def case(world):
        await world.node(podCIDRs=["10.244.5.0/24"])
        await world.pod()
        await world.node(name, number=2, **spec)
        async with world.controller():
            await world.until(lambda: world.pods_on_record("web-0"), "what can be served")
            for reason in ("Invalid", "PodCIDRRefused"):
                if message := await world.told(f"Node/{name}", reason):
                    break
            assert says in message
            assert await world.node_network(name) == {}
            await world.delete(f"{NODES}/{name}")
            await world.node(name, number=2, podCIDRs=["10.244.9.0/24"])
            await world.until(lambda: world.subnets(name, "10.244.9.0/24"), "the node's subnet")

    with_world(tmp_path, case)


def test_of_two_nodes_with_one_pod_cidr_the_second_has_it_when_the_first_goes(tmp_path):
    async def case(world):
        await world.node("node-1", podCIDRs=["10.244.5.0/24"])
        await world.node("node-2", number=2, podCIDRs=["10.244.5.0/24"])
        async with world.controller():
            await world.until(lambda: world.told("Node/node-2", "PodCIDRRefused"), "an Event")
            await world.delete(f"{NODES}/node-1")
            await world.until(lambda: world.subnets("node-2", "10.244.5.0/24"), "the second node's subnet")

    with_world(tmp_path, case)


def test_a_pod_cidr_that_changes_is_used_once_no_pod_has_an_address_of_the_old_one(tmp_path):
    """The API lets nobody change it: the Node is made anew, as when a machine is."""

    async def case(world):
        await world.node(podCIDRs=["10.244.5.0/24"])
        await world.pod()
        async with world.controller():
            await world.until(lambda: world.pods_on_record("web-0"), "the pod's address on record")
            await world.delete(f"{NODES}/node-1")
            await world.node(podCIDRs=["10.244.6.0/24"])
            await world.until(lambda: world.told("Node/node-1", "PodCIDRIgnored"), "an Event")
            await world.until(lambda: world.subnets("node-1", "10.244.5.0/24"), "the old subnet")
            await world.delete(f"{PODS}/web-0")
            await world.until(lambda: world.subnets("node-1", "10.244.6.0/24"), "the new subnet")

    with_world(tmp_path, case)


def test_a_pod_that_cannot_be_read_is_told_and_the_rest_goes_on(tmp_path):
    async def case(world):
        await world.node()
        await world.pod("bad")
        await world.patch(f"{PODS}/bad/status", {"status": {"podIPs": [{"ip": "10.244.0.300"}]}})
        async with world.controller() as running:
            await world.pod()
            await world.port()
            await world.until(lambda: world.told("Pod/bad", "Invalid"), "an Event")
            assert 'status.podIPs[0].ip "10.244.0.300"' in await world.told("Pod/bad", "Invalid")
            assert world.row("Logical_Switch_Port", "shop/bad") is None
            assert running.health.metrics.registry.get_sample_value("ovnk_invalid_objects", {"kind": "Pod"}) == 1
            await world.patch(f"{PODS}/bad/status", {"status": {"podIP": None, "podIPs": None}})
            await world.port("shop/bad")
            assert running.health.metrics.registry.get_sample_value("ovnk_invalid_objects", {"kind": "Pod"}) == 0

    with_world(tmp_path, case)


def test_names_at_their_longest(tmp_path):
    """A Node's and a Pod's name may have 253 characters, a Namespace's 63 (RFC 1123)."""
    subdomain = ".".join(["a" * 63] * 4)[:253]
    namespace = "n" * 63

    async def case(world):
        await world.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        await world.node(subdomain)
        await world.pod(subdomain, subdomain, namespace)
        async with world.controller() as running:
            port = await world.port(f"{namespace}/{subdomain}")
            await world.until(lambda: world.pods_on_record(subdomain, node=subdomain), "the address on record")
            assert dict(port["options"][1])["requested-chassis"] == subdomain
            assert world.row("Logical_Switch", subdomain)
            assert running.health.degraded() == []

    with_world(tmp_path, case)


def test_a_function_that_fails_has_its_rows_held_after_a_restart_too_and_is_named(tmp_path, monkeypatch):
    """A bug of ours: the pod keeps its port while others come and go."""
    working = pods.port

    @functools.wraps(working)
    def broken(view, pod):
        if pod.name == "web-0":
            raise ZeroDivisionError("a bug")
        yield from working(view, pod)

    async def case(world):
        await world.node()
        await world.pod()
        await world.pod("web-1")
        async with world.controller():
            port = await world.port()
            await world.port("shop/web-1")
        monkeypatch.setattr(pods, "port", broken)
        await world.delete(f"{PODS}/web-1")
        async with world.controller() as running:
            await world.pod("web-2")
            await world.port("shop/web-2")
            await world.until(
                lambda: world.row("Logical_Switch_Port", "shop/web-1") is None, "the deleted pod's port gone"
            )
            assert world.row("Logical_Switch_Port", "shop/web-0") == port
            assert any(
                "pods.port failed on Pod shop/web-0: ZeroDivisionError" in one for one in running.health.degraded()
            )
        monkeypatch.setattr(pods, "port", working)
        world.logs.clear()
        async with world.controller() as running:
            await world.until(lambda: world.logged("northbound compared"), "a start")
            assert running.health.degraded() == []
            assert world.logged("northbound compared")[0]["operations"] == 0

    with_world(tmp_path, case)


def test_a_start_that_would_delete_most_rows_deletes_none_and_says_so(tmp_path):
    """Another cluster's northbound, or an API server that lost its objects."""

    async def case(world):
        await world.node()
        for number in range(30):
            await world.pod(f"web-{number}")
        async with world.controller():
            await world.port("shop/web-29")
        for number in range(30):
            await world.delete(f"{PODS}/web-{number}")
        rows = world.northbound.versions()
        async with world.controller() as running:
            await world.until(lambda: any("held back" in one for one in running.health.degraded()), "the reason")
            assert "30 deletions are held back" in running.health.degraded()[0]
            assert world.northbound.versions() == rows
            await world.pod("db-0")
            await world.port("shop/db-0")
            assert rows.keys() < world.northbound.versions().keys()
        async with world.controller(first_delete_share=1.0) as running:
            await world.until(lambda: world.row("Logical_Switch_Port", "shop/web-0") is None, "the deletion")
            assert running.health.degraded() == []

    with_world(tmp_path, case)
