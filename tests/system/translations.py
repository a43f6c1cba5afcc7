"""What a node translates: the NAT entries of the kernel's and of Open vSwitch's connection tracking."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.labs import Lab

# Both print a connection's two directions one after the other: src dst sport dport … src dst sport dport.
_KERNEL = re.compile(r"src=(\S+) dst=(\S+) (?:sport=(\d+) dport=(\d+)|type=\d+ code=\d+ id=\d+)")
_VSWITCH = re.compile(r"\(src=([^,]+),dst=([^,]+)(?:,sport=(\d+),dport=(\d+)|,id=\d+,type=\d+,code=\d+)")


@dataclass(frozen=True, slots=True)
class Translation:
    """A connection whose reply goes elsewhere than where it came from, or comes from elsewhere than it went to."""

    source: str
    target: str
    line: str


def of_node(lab: Lab, node: str) -> list[Translation]:
    """What is translated on that node now."""
    kernel = lab.exec(f"node/{node}", "cat", "/proc/net/nf_conntrack")
    vswitch = lab.exec(f"node/{node}", "ovs-appctl", "dpctl/dump-conntrack")
    assert kernel.returncode == 0, kernel.stderr
    assert vswitch.returncode == 0, vswitch.stderr
    return [*_translations(kernel.stdout, _KERNEL), *_translations(vswitch.stdout, _VSWITCH)]


def _translations(table: str, direction: "re.Pattern[str]") -> Iterator[Translation]:
    for line in table.splitlines():
        directions = [match.groups() for match in direction.finditer(line)]
        if not directions:
            continue
        assert len(directions) == 2, line
        (source, target, source_port, target_port), reply = directions
        if reply != (target, source, target_port, source_port):
            yield Translation(_plain(source), _plain(target), line)


def _plain(address: str) -> str:
    """The address in its short form: the kernel writes IPv6 in full."""
    return str(ipaddress.ip_address(address))
