"""Pods: a port on the node's switch with the addresses that the allocator gave, and no other."""

from collections.abc import Iterator

from ovnk.contract import PodAllocation
from ovnk.incremental.graph import View
from ovnk.kube.objects import Pod
from ovnk.northbound.facts import Fact, Member, Ref, row
from ovnk.translate import names
from ovnk.translate.values import NodeSubnets, PodDemand, PodEntry


def demand(_view: View, pod: Pod) -> Iterator[PodDemand]:
    """A pod that is on a node asks for addresses there.

    Host-network pods have their node's. Finished pods (Succeeded, Failed) give theirs back.
    """
    if pod.node and not pod.host_network and not pod.finished:
        yield PodDemand(pod.key, pod.uid, pod.node, pod.ips)


def port(view: View, pod: Pod) -> Iterator[Fact]:
    """The pod's Logical_Switch_Port, and its place on its node's switch.

    Nothing until the node has subnets and this very pod (by UID) its addresses. port_security lets it send from
    those alone; iface-id-ver binds the port to the pod's own interface, not to that of a predecessor of its name.
    """
    allocation = _allocation(view, pod)
    if allocation is None or view.get(NodeSubnets, pod.node) is None:
        return
    key = names.pod_port(pod.namespace, pod.name)
    addresses = " ".join([allocation.mac, *allocation.ips])
    yield row(
        "Logical_Switch_Port",
        key,
        names.owner("Pod", pod.key),
        "pods.port",
        name=key,
        addresses=[addresses],
        port_security=[addresses],
        options={"requested-chassis": pod.node, "iface-id-ver": pod.uid},
    )
    yield Member("Logical_Switch", names.node_switch(pod.node), "ports", Ref("Logical_Switch_Port", key))


def entry(view: View, pod: Pod) -> Iterator[PodEntry]:
    """The pod's place in its node's NodeNetwork, from which the CNI plug-in is answered."""
    allocation = _allocation(view, pod)
    if allocation is not None:
        yield PodEntry(pod.node, allocation)


def _allocation(view: View, pod: Pod) -> PodAllocation | None:
    if not pod.node or pod.host_network or pod.finished:
        return None
    allocation = view.get(PodAllocation, pod.key)
    return allocation if allocation is not None and allocation.uid == pod.uid else None
