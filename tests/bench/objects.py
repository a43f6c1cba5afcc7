"""Nodes and pods of the size that a section asks for: as the compiler's values, and as an API server takes them."""

from collections.abc import Iterator
from typing import Any

import orjson

from ovnk.kube.objects import Node, Pod

NAMESPACE = "bench"
PODS_A_NODE = 100


def node_name(number: int) -> str:
    """n0000, n0001, …"""
    return f"n{number:04}"


def nodes(count: int) -> dict[str, Node]:
    """Nodes by name, each with an address of its own."""
    values = (Node(node_name(i), f"uid-{i}", (f"192.168.{i // 250}.{i % 250 + 1}",)) for i in range(count))
    return {value.key: value for value in values}


def pod(number: int, count: int) -> Pod:
    """Pod `number` on one of `count` nodes, in turn."""
    labels = (("app", f"app-{number % 50}"), ("pod-template-hash", "6d4b75cb6d"))
    return Pod(NAMESPACE, f"web-{number}", f"uid-{number}", node_name(number % count), labels=labels)


def pods(count: int, node_count: int) -> dict[str, Pod]:
    """Pods by key."""
    return {value.key: value for value in (pod(number, node_count) for number in range(count))}


def node_manifests(count: int) -> Iterator[bytes]:
    """Nodes as kubelet makes them, as far as anybody here reads them."""
    for value in nodes(count).values():
        addresses = [{"type": "InternalIP", "address": address} for address in value.addresses]
        yield _encode("v1", "Node", {"name": value.name}, status={"addresses": addresses})


def pod_manifests(count: int, node_count: int, prefix: str = "web") -> Iterator[bytes]:
    """Pods of one container, bound to their nodes already."""
    container = {
        "name": "web",
        "image": "registry.example/shop/web:1.27.3",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": "MODE", "value": "production"}, {"name": "LOG_LEVEL", "value": "info"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    }
    for number in range(count):
        labels = {"app": f"app-{number % 50}", "pod-template-hash": "6d4b75cb6d"}
        spec = {
            "nodeName": node_name(number % node_count),
            "automountServiceAccountToken": False,
            "containers": [container],
        }
        yield _encode("v1", "Pod", {"namespace": NAMESPACE, "name": f"{prefix}-{number}", "labels": labels}, spec=spec)


def policy_manifests(count: int) -> Iterator[bytes]:
    """NetworkPolicies, each about the pods of one app in fifty: another app's may come in, at a port."""
    for number in range(count):
        peer = {"podSelector": {"matchLabels": {"app": f"app-{(number + 1) % 50}"}}}
        spec = {
            "podSelector": {"matchLabels": {"app": f"app-{number % 50}"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [peer], "ports": [{"protocol": "TCP", "port": 8000 + number}]}],
        }
        yield _encode(
            "networking.k8s.io/v1", "NetworkPolicy", {"namespace": NAMESPACE, "name": f"policy-{number}"}, spec=spec
        )


def service_manifests(count: int) -> Iterator[bytes]:
    """Services whose addresses the API server chooses."""
    for number in range(count):
        spec = {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]}
        yield _encode("v1", "Service", {"namespace": NAMESPACE, "name": f"service-{number}"}, spec=spec)


def slice_manifests(count: int, endpoints: int, node_count: int) -> Iterator[bytes]:
    """An EndpointSlice for each of those Services, with so many endpoints."""
    for number in range(count):
        labels = {"kubernetes.io/service-name": f"service-{number}"}
        found = [
            {
                "addresses": [f"10.128.{place}.{number % 250 + 3}"],
                "conditions": {"ready": True},
                "nodeName": node_name(place % node_count),
            }
            for place in range(endpoints)
        ]
        metadata = {"namespace": NAMESPACE, "name": f"service-{number}-x", "labels": labels}
        ports = [{"name": "http", "protocol": "TCP", "port": 8080}]
        yield _encode(
            "discovery.k8s.io/v1", "EndpointSlice", metadata, addressType="IPv4", ports=ports, endpoints=found
        )


def _encode(version: str, kind: str, metadata: dict[str, Any], **parts: Any) -> bytes:
    return orjson.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, **parts})
