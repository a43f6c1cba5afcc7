"""Questions as ovn-trace takes them (ovn-trace(8), MICROFLOWS), and its answers."""

import re

from ovnk.translate import addressing
from tests.oracle.questions import Place, Question, management, router

# Of some port above those that anybody listens on.
SOURCE_PORT = 40000

_OUTPUT = re.compile(r'^\s*output\("([^"]+)"\)', re.MULTILINE)


def first(question: Question) -> str:
    """The connection's first packet, as it leaves the source."""
    return _packet(question, question.source, question.targets[0], question.address, question.port, SOURCE_PORT)


def reply(question: Question) -> str:
    """The first target's answer, where no Service is between."""
    target = question.targets[0]
    return _packet(question, target, question.source, question.source.end.address, SOURCE_PORT, question.port)


def outputs(traced: str) -> set[str]:
    """The ports where the packet comes out."""
    return set(_OUTPUT.findall(traced))


def _packet(question: Question, source: Place, target: Place, to: str, port: int, own_port: int) -> str:
    version, protocol = (6, "icmp6") if ":" in to else (4, "icmp4")
    parts = [
        f'inport == "{source.port}"',
        f"eth.src == {_mac(source)}",
        f"eth.dst == {_next_hop(source, target, to)}",
        f"ip{version}.src == {source.end.address}",
        f"ip{version}.dst == {to}",
        "ip.ttl == 64",
    ]
    if question.protocol == "ICMP":
        is_reply = source is not question.source
        parts.append(f"{protocol}.type == {(0 if version == 4 else 129) if is_reply else (8 if version == 4 else 128)}")
    elif question.protocol == "GRE":
        parts.append("ip.proto == 47")
    else:
        protocol = question.protocol.lower()
        parts += [f"{protocol}.src == {own_port}", f"{protocol}.dst == {port}"]
    return " && ".join(parts)


def _mac(place: Place) -> str:
    """A port's MAC goes with its IPv4 address."""
    pod = place.end.pod
    return addressing.mac(management(place.node, 0) if pod is None else pod["status"]["podIPs"][0]["ip"])


def _next_hop(source: Place, target: Place, to: str) -> str:
    """A neighbour in the node's pod network, or the router."""
    beside = source.node == target.node and to == target.end.address and _in_pod_network(target)
    return _mac(target) if beside else addressing.mac(router(source.node, 0))


def _in_pod_network(place: Place) -> bool:
    family = int(":" in place.end.address)
    return place.end.pod is not None or place.end.address == management(place.node, family)
