"""Where things are in a node's subnet, and what MAC goes with an address. Pure arithmetic on text.

.0 network   .1 router   .2 management port   .3 … pods   last: broadcast (IPv4)
"""

from ipaddress import IPv6Address, ip_network

ROUTER_OFFSET = 1
MANAGEMENT_OFFSET = 2
FIRST_POD_OFFSET = 3


def nth(cidr: str, offset: int) -> str:
    """The address at `offset` in the network."""
    return str(ip_network(cidr)[offset])


def with_prefix(address: str, cidr: str) -> str:
    """The address with the prefix length of its network: "10.244.1.2/24"."""
    return f"{address}/{cidr.rpartition('/')[2]}"


def mac(address: str) -> str:
    """The MAC that goes with an address: 0a:58 (locally administered) and its last 32 bits.

    Unique on a switch whose addresses differ in those bits, as they do in any subnet where they are handed out one
    after the other.
    """
    last = IPv6Address(address).packed[-4:] if ":" in address else bytes(map(int, address.split(".")))
    return f"0a:58:{last.hex(':')}"


def family(address_or_cidr: str) -> int:
    """4 or 6."""
    return 6 if ":" in address_or_cidr else 4


def within(address: str, length: int) -> str:
    """The network of that prefix length that the address is in: "10.244.1.3", 24 → "10.244.1.0/24"."""
    return str(ip_network(f"{address}/{length}", strict=False))


def default_prefix(address_or_cidr: str) -> str:
    """The prefix that holds every address of that family."""
    return "::/0" if ":" in address_or_cidr else "0.0.0.0/0"


def socket(address: str, port: int) -> str:
    """An address and a port as OVN and people write them: "10.96.0.1:80", "[fd00::1]:80"."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
