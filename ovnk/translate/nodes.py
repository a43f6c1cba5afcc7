"""Nodes: a switch for each node's pods, its port on the cluster router, and the way to and through the node itself.

              cluster router
         .1 │ router port            route table of the node: default → .2
    ┌───────┴────────┐               policy: dst == the node's own address → .2
    │  node's switch │
    └─┬────────────┬─┘
   .2 │ ovnk0      │ .3 … pods

Nothing here takes a NIC over: what leaves the cluster leaves through ovnk0 by the host's own routing.
"""

from collections.abc import Iterator

from ovnk.contract import Management
from ovnk.incremental.graph import View
from ovnk.kube.objects import Node
from ovnk.northbound.facts import Fact, Member, Ref, row
from ovnk.translate import addressing, names
from ovnk.translate.values import CLUSTER, Cluster, NodeDemand, NodeEntry, NodeSubnets


def demand(_view: View, node: Node) -> Iterator[NodeDemand]:
    """Every node asks for its subnets."""
    yield NodeDemand(node.name, node.pod_cidrs)


def cluster_router(_view: View, _cluster: Cluster) -> Iterator[Fact]:
    """The one router of the default topology."""
    yield row(
        "Logical_Router",
        names.CLUSTER_ROUTER,
        names.CLUSTER_OWNER,
        "nodes.cluster_router",
        name=names.CLUSTER_ROUTER,
        # Every address behind it is known beforehand, so nothing needs to be learnt from anybody's ARP.
        options={"always_learn_from_arp_request": "false"},
    )


def switch(view: View, node: Node) -> Iterator[Fact]:
    """The node's switch and its connection to the cluster router; nothing until the node has subnets."""
    subnets = view.get(NodeSubnets, node.name)
    if subnets is None:
        return
    owner, rule = names.owner("Node", node.name), "nodes.switch"
    key, router_key, switch_key = (
        names.node_switch(node.name),
        names.router_port(node.name),
        names.switch_port(node.name),
    )
    yield row("Logical_Switch", key, owner, rule, name=key)
    yield row(
        "Logical_Router_Port",
        router_key,
        owner,
        rule,
        name=router_key,
        mac=addressing.mac(subnets.ranges[0].gateway),
        networks=[addressing.with_prefix(subnet.gateway, subnet.cidr) for subnet in subnets.ranges],
        options={"route_table": names.route_table(node.name)},
    )
    yield Member("Logical_Router", names.CLUSTER_ROUTER, "ports", Ref("Logical_Router_Port", router_key))
    yield row(
        "Logical_Switch_Port",
        switch_key,
        owner,
        rule,
        name=switch_key,
        type="router",
        addresses=["router"],
        options={"router-port": router_key},
    )
    yield Member("Logical_Switch", key, "ports", Ref("Logical_Switch_Port", switch_key))


def management_port(view: View, node: Node) -> Iterator[Fact]:
    """The port of ovnk0, the node's own leg in its pod subnet.

    It has no port security: what the node forwards for others keeps their addresses.
    """
    subnets = view.get(NodeSubnets, node.name)
    if subnets is None:
        return
    key = names.management_port(node.name)
    addresses = [addressing.nth(subnet.cidr, addressing.MANAGEMENT_OFFSET) for subnet in subnets.ranges]
    yield row(
        "Logical_Switch_Port",
        key,
        names.owner("Node", node.name),
        "nodes.management_port",
        name=key,
        addresses=[" ".join([addressing.mac(addresses[0]), *addresses])],
        options={"requested-chassis": node.name},
    )
    yield Member("Logical_Switch", names.node_switch(node.name), "ports", Ref("Logical_Switch_Port", key))


def egress(view: View, node: Node) -> Iterator[Fact]:
    """What the node's pods send out of the cluster goes to the node itself.

    A route table per node (ovn-nb(5), Logical_Router_Static_Route route_table) rather than routes by source: a
    source route of a longer prefix would beat the connected route to another node's shorter one.
    """
    subnets = view.get(NodeSubnets, node.name)
    if subnets is None:
        return
    for subnet in subnets.ranges:
        prefix = addressing.default_prefix(subnet.cidr)
        key = names.egress_route(node.name, prefix)
        yield row(
            "Logical_Router_Static_Route",
            key,
            names.owner("Node", node.name),
            "nodes.egress",
            ip_prefix=prefix,
            nexthop=addressing.nth(subnet.cidr, addressing.MANAGEMENT_OFFSET),
            route_table=names.route_table(node.name),
        )
        yield Member("Logical_Router", names.CLUSTER_ROUTER, "static_routes", Ref("Logical_Router_Static_Route", key))


def addresses(view: View, node: Node) -> Iterator[Fact]:
    """The node's own addresses are reached through its ovnk0, from every node's pods and without NAT."""
    subnets = view.get(NodeSubnets, node.name)
    if subnets is None:
        return
    next_hops = {
        addressing.family(subnet.cidr): addressing.nth(subnet.cidr, addressing.MANAGEMENT_OFFSET)
        for subnet in subnets.ranges
    }
    for address in node.addresses:
        family = addressing.family(address)
        if family not in next_hops:
            continue
        key = names.node_address_policy(node.name, address)
        yield row(
            "Logical_Router_Policy",
            key,
            names.owner("Node", node.name),
            "nodes.addresses",
            priority=names.NODE_ADDRESS_PRIORITY,
            match=f"ip{family}.dst == {address}",
            action="reroute",
            nexthops=[next_hops[family]],
        )
        yield Member("Logical_Router", names.CLUSTER_ROUTER, "policies", Ref("Logical_Router_Policy", key))


def network(view: View, node: Node) -> Iterator[NodeEntry]:
    """What the node's agent needs to know of its node; nothing until it has subnets."""
    subnets, cluster = view.get(NodeSubnets, node.name), view.get(Cluster, CLUSTER)
    if subnets is None or cluster is None:
        return
    own = [addressing.nth(subnet.cidr, addressing.MANAGEMENT_OFFSET) for subnet in subnets.ranges]
    yield NodeEntry(
        node=node.name,
        uid=node.uid,
        subnets=subnets.ranges,
        management=Management(
            tuple(addressing.with_prefix(one, subnet.cidr) for one, subnet in zip(own, subnets.ranges, strict=True)),
            addressing.mac(own[0]),
        ),
        cluster_cidrs=cluster.cluster_cidrs,
        service_cidrs=cluster.service_cidrs,
        mtu_bytes=cluster.mtu_bytes,
    )
