"""Manifests of pods for the lab, with good defaults: a test states only what it is about."""

import sys
from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]

PORT = 8080
PYTHON = sys.executable


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def server(
    name: str, node: str = "", port: int = PORT, space: str = "default", host_network: bool = False, **labels: str
) -> Object:
    """A pod of one container without a command: the lab's built-in server, on TCP and UDP of one port."""
    return pod(name, [container("server", ports=_ports(port))], node, space, host_network, **labels)


def container(name: str, *command: str, **fields: Any) -> Object:
    return {"name": name, "image": "ignored", **({"command": list(command)} if command else {}), **fields}


def script(name: str, text: str, *arguments: str, **fields: Any) -> Object:
    """A container that runs a Python program and then, if that ends, sleeps: nothing restarts it."""
    return container(name, PYTHON, "-u", "-c", text + "\nimport time; time.sleep(3600)\n", *arguments, **fields)


def pod(
    name: str,
    containers: Sequence[Object],
    node: str = "",
    space: str = "default",
    host_network: bool = False,
    **labels: str,
) -> Object:
    """A pod that goes at once when it is deleted. With a node the scheduler is not asked."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "spec": {
            "containers": list(containers),
            "terminationGracePeriodSeconds": 0,
            **({"nodeName": node} if node else {}),
            **({"hostNetwork": True} if host_network else {}),
        },
    }


def deployment(name: str, replicas: int, space: str = "default") -> Object:
    """So many built-in servers, wherever the scheduler puts them, labelled app=NAME."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [container("server", ports=_ports(PORT))],
                    "terminationGracePeriodSeconds": 0,
                },
            },
        },
    }


def addresses(pod: Object) -> list[str]:
    """A running pod's addresses, one a family, as the API has them."""
    return [entry["ip"] for entry in pod["status"]["podIPs"]]


def of_family(pod: Object, version: int) -> str:
    """The running pod's address of IP version 4 or 6."""
    return next(address for address in addresses(pod) if (":" in address) == (version == 6))


def host_address(pod: Object, version: int) -> str:
    """The address of the running pod's node of IP version 4 or 6."""
    return next(entry["ip"] for entry in pod["status"]["hostIPs"] if (":" in entry["ip"]) == (version == 6))


def _ports(port: int) -> list[Object]:
    return [{"name": kind.lower(), "containerPort": port, "protocol": kind} for kind in ("TCP", "UDP")]
