"""Ranges: which part of the cluster's network is which node's.

A node's own spec.podCIDRs are taken as they are; a node without gets the next free range of the cluster's network.
No two nodes' ranges overlap, whoever proposed them.
"""

from bisect import bisect_left, bisect_right, insort
from ipaddress import ip_address, ip_network
from typing import NamedTuple


class Held(NamedTuple):
    """A range as numbers, first to last address, and whose it is."""

    first: int
    last: int
    cidr: str
    node: str


class Ranges:
    """The cluster's network of one family, cut into ranges of `prefix` bits for nodes that bring none."""

    def __init__(self, cidr: str, prefix: int) -> None:
        self.network = ip_network(cidr)
        self._size = 1 << (self.network.max_prefixlen - prefix)
        self._prefix = prefix
        self._first = int(self.network.network_address)
        self._last = int(self.network.broadcast_address)
        # Sorted by first address; none overlaps another.
        self._held: list[Held] = []
        # Where the search for a free range goes on.
        self._next = self._first

    def claim(self, cidr: str, node: str) -> str | None:
        """The range is the node's from now on: None. Otherwise why it cannot be, to follow the range's name."""
        wanted = ip_network(cidr)
        first, last = int(wanted.network_address), int(wanted.broadcast_address)
        if wanted.version != self.network.version or first < self._first or last > self._last:
            return f'is not within the cluster\'s network "{self.network}"'
        if last - first < 3:
            return "is too small for a router, a management port and a pod"
        for held in self._overlapping(first, last):
            if held.node != node:
                return f'overlaps "{held.cidr}" of node "{held.node}"'
            if held.cidr != cidr:
                return f'overlaps "{held.cidr}" that the node has already'
            return None
        insort(self._held, Held(first, last, cidr, node))
        return None

    def take(self, node: str) -> str | None:
        """The next free range, the node's from now on; None when the network is used up."""
        for start in (self._next, self._first):
            first = start
            while first + self._size - 1 <= self._last:
                taken = self._overlapping(first, first + self._size - 1)
                if not taken:
                    cidr = f"{type(self.network.network_address)(first)}/{self._prefix}"
                    insort(self._held, Held(first, first + self._size - 1, cidr, node))
                    self._next = first + self._size
                    return cidr
                # On to the first boundary behind what is in the way.
                beyond = taken[-1].last + 1
                first = self._first + -(-(beyond - self._first) // self._size) * self._size
        return None

    def around(self, ip: str) -> str | None:
        """The range that the address would be in, were it cut here; None outside of the cluster's network."""
        address = int(ip_address(ip))
        if ip_address(ip).version != self.network.version or not self._first <= address <= self._last:
            return None
        return f"{type(self.network.network_address)(address & -self._size)}/{self._prefix}"

    def release(self, cidr: str, node: str) -> None:
        """The node gives the range back. Somebody else's is left alone."""
        self._held = [held for held in self._held if held.cidr != cidr or held.node != node]

    def _overlapping(self, first: int, last: int) -> list[Held]:
        begin = bisect_right(self._held, first, key=lambda held: held.first)
        if begin and self._held[begin - 1].last >= first:
            begin -= 1
        return self._held[begin : bisect_left(self._held, last + 1, key=lambda held: held.first)]
