"""Load_Balancer_Groups: one that every node's switch refers to, and one for each zone.

    Node ─▶ Place (node, zone) ─┬─▶ the switch's references to both groups
                                └─▶ Zone ─▶ the zone's group

So a Service's row is put on all switches, or on those of a zone, by one reference, however many nodes there are.
"""

from collections.abc import Iterator

from ovnk.incremental.graph import View
from ovnk.kube.objects import Node
from ovnk.northbound.facts import Fact, Member, Ref, row
from ovnk.translate import names
from ovnk.translate.values import Cluster, NodeSubnets, Place, Zone


def cluster_group(_view: View, _cluster: Cluster) -> Iterator[Fact]:
    """The group of every switch."""
    yield _group(names.SERVICE_GROUP, "service_groups.cluster_group")


def place(view: View, node: Node) -> Iterator[Place]:
    """A node is a place of clients as soon as it has a switch."""
    if view.get(NodeSubnets, node.name) is not None:
        yield Place(node.name, node.zone)


def zone(_view: View, place: Place) -> Iterator[Zone]:
    """A zone is there while a node of it is."""
    yield Zone(place.zone)


def zone_group(_view: View, zone: Zone) -> Iterator[Fact]:
    """The group of the zone's switches."""
    yield _group(names.zone_group(zone.name), "service_groups.zone_group")


def switch(_view: View, place: Place) -> Iterator[Fact]:
    """The groups that a node's switch refers to."""
    for group in (names.SERVICE_GROUP, names.zone_group(place.zone)):
        yield Member(
            "Logical_Switch", names.node_switch(place.node), "load_balancer_group", Ref("Load_Balancer_Group", group)
        )


def _group(key: str, rule: str) -> Fact:
    return row("Load_Balancer_Group", key, names.CLUSTER_OWNER, rule, name=key)
