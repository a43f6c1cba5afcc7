"""Who has which address: the record where it holds, reality where they disagree, and no address twice."""

import random
from ipaddress import ip_address, ip_network

import pytest

from ovnk.allocation import Network
from ovnk.compiler import Compiler
from ovnk.contract import DEFAULT_SUBNET, NodeNetworkSpec, PodAllocation, SubnetRange
from ovnk.kube.objects import Node, NodeNetwork, Pod, Put, Remove, Replace
from ovnk.translate import addressing
from ovnk.translate.values import NodeEntry, NodeSubnets, PodEntry
from tests.builders import cluster, node, pod

V4, V6 = Network("10.244.0.0/16", 24), Network("fd00:10:244::/48", 64)


class World:
    """A compiler that leads, fed directly."""

    def __init__(self, *networks, records=(), objects=()):
        networks = networks or (V4,)
        self.compiler = Compiler(cluster(*(network.cidr for network in networks)), networks, check=True)
        for value in objects:
            self.compiler.apply(Put(value))
        self.notices = self.compiler.lead(records)
        self.settle()

    def settle(self):
        settled, notices = self.compiler.settle()
        assert settled
        self.notices += notices

    def put(self, *values):
        for value in values:
            self.compiler.apply(Put(value))
        self.settle()

    def remove(self, value):
        self.compiler.apply(Remove(type(value), value.key))
        self.settle()

    def ips(self, of):
        allocation = self.compiler.graph.tables[PodAllocation].get(of.key)
        return allocation.ips if allocation is not None and allocation.uid == of.uid else None

    def cidrs(self, name):
        subnets = self.compiler.graph.tables[NodeSubnets].get(name)
        return subnets and tuple(one.cidr for one in subnets.ranges)

    def reasons(self):
        return [(notice.kind, notice.key, notice.reason) for notice in self.notices]

    def records(self):
        """The NodeNetworks as they would be written."""
        entries = list(self.compiler.outputs.node_networks)
        pods = [entry for entry in entries if isinstance(entry, PodEntry)]
        return [
            record(
                entry.node, *(s.cidr for s in entry.subnets), pods=[p.allocation for p in pods if p.node == entry.node]
            )
            for entry in entries
            if isinstance(entry, NodeEntry)
        ]


def record(name, *cidrs, pods=()):
    ranges = tuple(SubnetRange(DEFAULT_SUBNET, cidr, addressing.nth(cidr, 1)) for cidr in cidrs)
    return NodeNetwork(name, NodeNetworkSpec(subnets=ranges, pods=tuple(pods)))


def given(of, *ips):
    return PodAllocation(of.namespace, of.name, of.uid, ips, addressing.mac(ips[0]))


def test_pods_get_addresses_of_their_node_from_the_fourth_on():
    a, b = pod("a"), pod("b")
    world = World(objects=[node(pod_cidrs=("10.244.7.0/24",)), a, b])
    assert (world.ips(a), world.ips(b)) == (("10.244.7.3",), ("10.244.7.4",))


def test_a_node_without_pod_cidrs_gets_the_lowest_free_range():
    world = World(objects=[node("n1", pod_cidrs=("10.244.0.0/24",)), node("n2"), node("n3")])
    assert [world.cidrs(name) for name in ("n1", "n2", "n3")] == [
        ("10.244.0.0/24",),
        ("10.244.1.0/24",),
        ("10.244.2.0/24",),
    ]


def test_dual_stack_gives_one_address_of_each_family():
    one = pod()
    world = World(V4, V6, objects=[node(), one])
    assert world.ips(one) == ("10.244.0.3", "fd00:10:244::3")


def test_ipv6_only_gives_ipv6_alone():
    one = pod()
    world = World(V6, objects=[node(), one])
    assert world.ips(one) == ("fd00:10:244::3",)


def test_host_network_finished_and_unscheduled_pods_get_none():
    pods = [pod("a", host_network=True), pod("b", finished=True), pod("c", node="")]
    world = World(objects=[node(), *pods])
    assert [world.ips(one) for one in pods] == [None, None, None]


def test_a_pod_before_its_node_waits_for_it():
    one = pod()
    world = World(objects=[one])
    assert world.ips(one) is None
    world.put(node())
    assert world.ips(one) == ("10.244.0.3",)


def test_a_finished_pod_gives_its_address_back():
    one = pod()
    world = World(objects=[node(), one])
    world.put(pod(finished=True))
    assert world.ips(one) is None


def test_a_pod_of_the_same_name_with_another_uid_is_another_pod():
    old, new = pod(uid="1"), pod(uid="2")
    world = World(objects=[node(), old])
    world.put(new)
    assert world.ips(old) is None
    assert world.ips(new) == ("10.244.0.4",)


def test_a_full_subnet_is_told_once_and_recovers_when_an_address_is_freed():
    pods = [pod(name) for name in "abcdefg"]
    world = World(objects=[node(pod_cidrs=("10.244.7.0/29",)), *pods])
    waiting = [one for one in pods if world.ips(one) is None]
    assert [one.name for one in waiting] == ["e", "f", "g"]
    assert world.reasons() == [("Pod", f"shop/{name}", "SubnetFull") for name in "efg"]
    assert 'subnet "10.244.7.0/29" of node "node-1" has no address left of 4' in world.notices[0].message
    world.remove(pods[1])
    assert world.ips(pods[4]) == ("10.244.7.4",)
    assert len(world.notices) == 3


def test_two_nodes_with_one_pod_cidr_only_one_has_it_and_the_other_is_told():
    world = World(objects=[node("n1", pod_cidrs=("10.244.7.0/24",)), node("n2", pod_cidrs=("10.244.7.0/25",))])
    assert world.cidrs("n1") == ("10.244.7.0/24",)
    assert world.cidrs("n2") is None
    assert world.reasons() == [("Node", "n2", "PodCIDRRefused")]
    assert 'spec.podCIDRs "10.244.7.0/25" overlaps "10.244.7.0/24" of node "n1"' in world.notices[0].message
    world.remove(node("n1"))
    assert world.cidrs("n2") == ("10.244.7.0/25",)


def test_the_node_on_record_keeps_a_contested_pod_cidr():
    nodes = [node("n1", pod_cidrs=("10.244.7.0/24",)), node("n2", pod_cidrs=("10.244.7.0/24",))]
    world = World(records=[record("n2", "10.244.7.0/24")], objects=nodes)
    assert world.cidrs("n2") == ("10.244.7.0/24",)
    assert world.reasons() == [("Node", "n1", "PodCIDRRefused")]


def test_a_pod_cidr_outside_of_the_cluster_network_is_refused():
    world = World(objects=[node(pod_cidrs=("172.16.0.0/24",))])
    assert world.cidrs("node-1") is None
    assert "is not within the cluster's network" in world.notices[0].message


def test_a_pod_cidr_that_changes_waits_until_no_pod_has_the_old_one():
    one = pod()
    world = World(objects=[node(pod_cidrs=("10.244.7.0/24",)), one])
    world.put(node(pod_cidrs=("10.244.8.0/24",)))
    assert world.cidrs("node-1") == ("10.244.7.0/24",)
    assert world.reasons() == [("Node", "node-1", "PodCIDRIgnored")]
    world.remove(one)
    assert world.cidrs("node-1") == ("10.244.8.0/24",)
    world.put(one)
    assert world.ips(one) == ("10.244.8.3",)
    idle = World(objects=[node(pod_cidrs=("10.244.7.0/24",))])
    idle.put(node(pod_cidrs=("10.244.8.0/24",)))
    assert idle.cidrs("node-1") == ("10.244.8.0/24",)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_pod_cidrs_that_are_given_out_after_ours_go_round_among_the_nodes(order):
    """As kube-controller-manager does that comes a little later: each idle node is given what another one has."""
    world = World(objects=[node("n0"), node("n1"), node("n2")])
    for number in order:
        world.put(node(f"n{number}", pod_cidrs=(f"10.244.{(number + 1) % 3}.0/24",)))
    assert [world.cidrs(f"n{number}") for number in range(3)] == [
        ("10.244.1.0/24",),
        ("10.244.2.0/24",),
        ("10.244.0.0/24",),
    ]


def test_a_cluster_network_that_is_used_up_is_told_and_recovers():
    world = World(Network("10.244.0.0/24", 25), objects=[node("n1"), node("n2"), node("n3")])
    assert world.cidrs("n3") is None
    assert world.reasons() == [("Node", "n3", "ClusterNetworkFull")]
    world.remove(node("n1"))
    assert world.cidrs("n3") == ("10.244.0.0/25",)


def test_the_range_of_a_node_that_is_gone_is_free_only_when_its_pods_are():
    one = pod(node="n1")
    world = World(Network("10.244.0.0/24", 25), objects=[node("n1"), node("n2"), node("n3"), one])
    world.remove(node("n1"))
    assert world.cidrs("n3") is None
    world.remove(one)
    assert world.cidrs("n3") == ("10.244.0.0/25",)


def test_the_record_is_taken_over():
    one, two = pod("a"), pod("b")
    records = [record("node-1", "10.244.9.0/24", pods=[given(two, "10.244.9.77")])]
    world = World(records=records, objects=[node(), one, two])
    assert world.ips(two) == ("10.244.9.77",)
    assert world.ips(one) == ("10.244.9.78",)
    assert not world.notices


def test_a_recorded_pod_that_is_gone_is_dropped():
    gone, one = pod("gone"), pod("a")
    world = World(records=[record("node-1", "10.244.9.0/24", pods=[given(gone, "10.244.9.3")])], objects=[node(), one])
    assert world.ips(one) == ("10.244.9.3",)
    assert [entry.allocation.name for entry in world.compiler.outputs.node_networks if isinstance(entry, PodEntry)] == [
        "a"
    ]


def test_lost_node_networks_come_back_from_the_status_of_running_pods():
    running, new = pod("a", ips=("10.244.9.77",)), pod("b")
    world = World(objects=[node("node-0"), node("node-1"), running, new])
    assert world.cidrs("node-1") == ("10.244.9.0/24",)
    assert world.ips(running) == ("10.244.9.77",)
    assert world.ips(new) == ("10.244.9.78",)


def test_a_record_that_contradicts_a_running_pod_gives_way_and_the_pod_is_told():
    running = pod("a", ips=("10.244.9.5",))
    records = [record("node-1", "10.244.9.0/24", pods=[given(running, "10.244.9.3")])]
    world = World(records=records, objects=[node(), running])
    assert world.ips(running) == ("10.244.9.5",)
    assert world.reasons() == [("Pod", "shop/a", "AddressRestored")]


def test_one_address_recorded_twice_goes_to_the_running_pod():
    running, other = pod("b", ips=("10.244.9.5",)), pod("a")
    pods = [given(other, "10.244.9.5"), given(running, "10.244.9.5")]
    world = World(records=[record("node-1", "10.244.9.0/24", pods=pods)], objects=[node(), running, other])
    assert world.ips(running) == ("10.244.9.5",)
    assert world.ips(other) == ("10.244.9.6",)


def test_a_pod_that_runs_with_anothers_address_is_told_to_be_deleted():
    first, second = pod("a", ips=("10.244.9.5",)), pod("b", ips=("10.244.9.5",))
    world = World(records=[record("node-1", "10.244.9.0/24")], objects=[node(), first, second])
    assert world.ips(first) == ("10.244.9.5",)
    assert world.ips(second) == ("10.244.9.6",)
    assert world.reasons() == [("Pod", "shop/b", "AddressLost")]
    assert '"10.244.9.5" is another pod\'s; delete the pod' in world.notices[0].message


def test_a_pod_that_runs_with_one_family_keeps_it_when_the_cluster_becomes_dual_stack():
    running = pod("a", ips=("10.244.9.5",))
    world = World(V4, V6, objects=[node(pod_cidrs=("10.244.9.0/24", "fd00:10:244:9::/64")), running])
    assert world.ips(running) == ("10.244.9.5",)
    world.remove(running)


def test_a_pod_that_comes_up_with_another_address_than_decided_keeps_it_and_is_told():
    """Its node's agent answered from a NodeNetwork that somebody had edited."""
    one = pod()
    world = World(objects=[node(pod_cidrs=("10.244.9.0/24",)), one])
    world.put(pod(ips=("10.244.9.55",)))
    assert world.ips(one) == ("10.244.9.55",)
    assert world.reasons() == [("Pod", "shop/web-0", "AddressRestored")]
    world.put(pod(ips=("10.244.9.55",), labels={"app": "web"}))
    assert world.ips(one) == ("10.244.9.55",)


def test_a_pod_that_waits_does_not_change_place_when_its_status_does():
    pods = [pod(name) for name in "abcdef"]
    world = World(objects=[node(pod_cidrs=("10.244.7.0/29",)), *pods])
    world.put(pod("e", labels={"app": "web"}))
    world.remove(pods[0])
    assert world.ips(pods[4]) == ("10.244.7.3",)


def test_two_hundred_pods_at_once_have_two_hundred_addresses():
    pods = [pod(f"p{i}", node=f"n{i % 3}") for i in range(200)]
    world = World(V4, V6, objects=[node(f"n{i}") for i in range(3)])
    world.put(*pods)
    for family in (0, 1):
        assert len({world.ips(one)[family] for one in pods}) == 200


@pytest.mark.parametrize("seed", range(15))
def test_r23_any_walk_with_restarts_has_no_duplicate_and_changes_no_address(seed):
    """Events in any order, the process replaced at any moment: an address stays with its pod until the pod ends."""
    dice = random.Random(seed)
    networks = (Network("10.244.0.0/24", 28), Network("fd00::/120", 124))
    world, objects, known = World(*networks), {}, {}
    for _ in range(150):
        kind = dice.choice([Node, Pod, Pod, Pod])
        if kind is Node:
            value = node(f"n{dice.randrange(5)}")
        else:
            name = f"p{dice.randrange(40)}"
            value = pod(name, node=f"n{int(name[1:]) % 5}", uid=dice.choice("12"), finished=dice.random() < 0.1)
        if dice.random() < 0.35:
            world.remove(value)
            objects.pop((kind, value.key), None)
        else:
            world.put(value)
            objects[kind, value.key] = value
        if dice.random() < 0.1:
            world = World(*networks, records=world.records(), objects=objects.values())
        pods = [value for value in objects.values() if isinstance(value, Pod)]
        now = {(one.key, one.uid): world.ips(one) for one in pods if world.ips(one)}
        for family in (0, 1):
            assert len({ips[family] for ips in now.values()}) == len(now)
        for one in pods:
            ips = now.get((one.key, one.uid))
            if ips and (one.key, one.uid) in known and (Node, one.node) in objects:
                assert ips == known[one.key, one.uid]
            if ips and (Node, one.node) in objects:
                assert ip_address(ips[0]) in ip_network(world.cidrs(one.node)[0])
        known = now


def test_who_follows_takes_the_records_for_decided_and_forgets_what_leaves_them():
    one = pod()
    compiler = Compiler(cluster(), (V4,))
    compiler.apply(Replace(NodeNetwork, {"node-1": record("node-1", "10.244.9.0/24", pods=[given(one, "10.244.9.3")])}))
    allocations, nodes = compiler.graph.tables[PodAllocation], compiler.graph.tables[NodeSubnets]
    assert allocations.get(one.key).ips == ("10.244.9.3",)
    assert nodes.get("node-1").ranges[0].cidr == "10.244.9.0/24"
    compiler.apply(Put(record("node-1", "10.244.9.0/24")))
    assert allocations.get(one.key) is None
    compiler.apply(Remove(NodeNetwork, "node-1"))
    assert nodes.get("node-1") is None


def test_who_leads_no_longer_follows_what_the_new_leader_wrote():
    one = pod()
    compiler = Compiler(cluster(), (V4,))
    for value in (node(), one):
        compiler.apply(Put(value))
    compiler.lead([])
    compiler.apply(Put(record("node-1", "10.244.9.0/24", pods=[given(one, "10.244.9.3")])))
    allocations = compiler.graph.tables[PodAllocation]
    assert allocations.get(one.key).ips == ("10.244.0.3",)
    compiler.follow()
    assert allocations.get(one.key).ips == ("10.244.9.3",)
