"""Values with good defaults; a test states only what it is about."""

import json

from ovnk.contract import PodAllocation, SubnetRange
from ovnk.kube.decode_pools import address_pool
from ovnk.kube.objects import Namespace, Node, Pod
from ovnk.kube.policy_objects import ClusterNetworkPolicy, NetworkPolicy, PodPeers, Requirement, Rule
from ovnk.kube.service_objects import Endpoint, EndpointSlice, Service, ServicePort
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


def service(name="web", *ips, namespace="shop", ports=None, **given):
    """A Service on 10.96.0.10:80/TCP unless said otherwise; `ports` are (name, protocol, port)."""
    return Service(
        namespace,
        name,
        uid=f"uid-{namespace}-{name}",
        cluster_ips=ips or ("10.96.0.10",),
        ports=tuple(ServicePort(*port) for port in ports or [("", "TCP", 80)]),
        **given,
    )


def endpoint_slice(name="web-1", *endpoints, of="shop/web", ports=None):
    """A slice on port 8080/TCP unless said otherwise; `endpoints` are Endpoints, or addresses of ready ones."""
    return EndpointSlice(
        of.partition("/")[0],
        name,
        service=of,
        uid=f"uid-{name}",
        ports=tuple(ports or [("", "TCP", 8080)]),
        endpoints=tuple(Endpoint(one) if isinstance(one, str) else one for one in endpoints),
    )


def selecting(**labels):
    """The selector of these labels."""
    return tuple(sorted(Requirement(key, "In", (value,)) for key, value in labels.items()))


def policy(name="web", *, namespace="shop", subject=(), ingress=(), egress=None, **given):
    """A NetworkPolicy that isolates every pod of the namespace from ingress, unless said otherwise."""
    return NetworkPolicy(namespace, name, f"uid-{namespace}-{name}", subject, ingress, egress, **given)


def allowing(*peers, ports=None):
    """A rule that lets these peers through, all there are without any."""
    return Rule(peers or None, ports)


def pool(name, *addresses, **spec):
    """An AddressPool as the API has it: `spec` in its own words (autoAssign, serviceSelector, namespaceSelector)."""
    metadata = {"name": name, "uid": f"uid-{name}"}
    return address_pool(json.dumps({"metadata": metadata, "spec": {"addresses": addresses, **spec}}).encode())


def cluster_policy(name="guard", priority=10, *, tier="Admin", subject=None, ingress=(), egress=(), **given):
    """A ClusterNetworkPolicy of the Admin tier about every pod, unless said otherwise."""
    subject = subject or PodPeers((), namespaces=())
    rules = tuple(ingress), tuple(egress)
    return ClusterNetworkPolicy(name, f"uid-{name}", tier, priority, subject, *rules, **given)
