"""The controller and cluster-wide policies: whether the cluster serves them or not, whether OVN has tiers or not."""

import json

import pytest

from ovnk.kube import decode, watch
from ovnk.lab import policy_crds
from ovnk.translate import cluster_policies
from tests.controllers import with_world
from tests.ovsdb import NORTHBOUND

pytestmark = pytest.mark.system

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POLICIES = decode.OPTIONAL_KINDS["ClusterNetworkPolicy"][0].path


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(watch, "ABSENT_S", 0.1)


async def serve(world):
    for definition in policy_crds.DEFINITIONS:
        await world.create(DEFINITIONS, definition)


async def policy(world, name, *rules):
    spec = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "ingress": list(rules)}
    await world.create(POLICIES, {"metadata": {"name": name}, "spec": spec})


def rule(action, **more):
    return {"action": action, "from": [{"namespaces": {}}], **more}


def acls(world):
    """Action, direction and tier of the policies' ACLs, by name."""
    return {
        row["name"]: (row["action"], row["direction"], row.get("tier"))
        for row in world.northbound.select().get("ACL", ())
        if str(row["name"]).startswith("CNP:")
    }


async def accepted(world, name):
    found = (await world.get(f"{POLICIES}/{name}")).get("status", {}).get("conditions", [])
    return [(one["type"], one["status"], one["observedGeneration"], one["message"]) for one in found]


def test_policies_are_taken_up_with_their_definitions_and_go_with_them(tmp_path):
    async def case(world):
        await world.node()
        await world.pod()
        async with world.controller() as running:
            await world.port()
            assert running.health.degraded() == []
            await serve(world)
            await policy(world, "shut", rule("Deny"))
            await world.until(lambda: acls(world) == {"CNP:shut:ingress:0": ("drop", "to-lport", None)}, "the ACL")
            await world.delete(f"{DEFINITIONS}/clusternetworkpolicies.policy.networking.k8s.io")
            await world.until(lambda: acls(world) == {}, "no ACL")
            assert running.health.degraded() == []

    with_world(tmp_path, case)


def test_a_policy_says_whether_it_stands_as_written(tmp_path):
    async def case(world):
        await serve(world)
        await world.node()
        await world.pod()
        async with world.controller():
            await policy(world, "good", rule("Deny"))
            named = {"protocols": [{"destinationNamedPort": "http"}]}
            await policy(world, "named", rule("Pass", **named))
            good = ("Accepted", "True", 1, "every rule stands as it is written")

            async def stands(name, condition):
                return await accepted(world, name) == [condition]

            await world.until(lambda: stands("good", good), "the good policy's condition")
            why = f"spec.ingress[0] {cluster_policies.BY_NAME}"
            await world.until(lambda: stands("named", ("Accepted", "False", 1, why)), "the other's condition")
            await world.until(lambda: world.told("ClusterNetworkPolicy/named", "Invalid"), "the Event")
            assert await world.told("ClusterNetworkPolicy/named", "Invalid") == why
            await world.patch(f"{POLICIES}/named", {"spec": {"ingress": [rule("Pass")]}})
            await world.until(lambda: stands("named", (*good[:2], 2, good[3])), "the mended policy's condition")

    with_world(tmp_path, case)


def test_a_northbound_that_has_been_converted_gets_its_tiers(tmp_path):
    schema = json.loads(NORTHBOUND.read_text())
    columns = schema["tables"]["ACL"]["columns"]
    columns["tier"] = {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 3}}}
    columns["action"]["type"]["key"]["enum"][1].append("pass")
    schema.pop("cksum")
    newer = tmp_path / "newer.ovsschema"
    newer.write_text(json.dumps(schema))

    async def case(world):
        await serve(world)
        await world.node()
        await world.pod()
        async with world.controller() as running:
            await policy(world, "some", rule("Pass"), rule("Deny"))
            await world.port()
            await world.until(lambda: acls(world) == {}, "nothing behind a Pass of all")
            world.northbound.kill()
            world.northbound.create(newer)
            world.northbound.start()
            wanted = {"CNP:some:ingress:0": ("pass", "to-lport", 0), "CNP:some:ingress:1": ("drop", "to-lport", 0)}
            await world.until(lambda: acls(world) == wanted, "tiers")
            await world.until(lambda: not running.health.degraded(), "all well")

    with_world(tmp_path, case)
