"""Values with good defaults; a test states only what it is about."""

from ovnk.contract import PodAllocation, SubnetRange
from ovnk.kube.objects import Namespace, Node, Pod
from ovnk.translate import addressing
from ovnk.translate.values import Cluster, NodeSubnets


def cluster(*cidrs, services=("10.96.0.0/16",), **given):
    return Cluster(cluster_cidrs=cidrs or ("10.244.0.0/16",), service_cidrs=services, **given)


def node(name="node-1", *, number=1, addresses=None, **given):
    addresses = (f"192.168.100.{number}",) if addresses is None else addresses
    return Node(name=name, uid=f"uid-{name}", addresses=addresses, **given)


def namespace(name="shop", **labels):
    return Namespace(name=name, labels=tuple(sorted(labels.items())))


def pod(name="web-0", *, namespace="shop", node="node-1", uid=None, labels=None, **given):
    return Pod(
        namespace=namespace,
        name=name,
        uid=uid or f"uid-{namespace}-{name}",
        node=node,
        labels=tuple(sorted((labels or {}).items())),
        **given,
    )


def subnets(node="node-1", *cidrs):
    return NodeSubnets(
        node, tuple(SubnetRange("default", cidr, addressing.nth(cidr, 1)) for cidr in cidrs or ("10.244.1.0/24",))
    )


def allocation(of, *ips):
    ips = ips or ("10.244.1.3",)
    return PodAllocation(of.namespace, of.name, of.uid, ips, addressing.mac(ips[0]))
