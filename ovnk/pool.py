"""Pool: which addresses of one range are taken, and by whom. Knows neither pods nor time.

Addresses are handed out round and round, so one that was given back is the last to be given again: what still
remembers it (a neighbour's cache, a slow client) has the longest time that the range allows.
"""

from ipaddress import ip_address, ip_network

from ovnk.translate.addressing import FIRST_POD_OFFSET


class Pool:
    """The addresses of `cidr` that pods may have: from .3 on, without IPv4's broadcast address.

    `take` and `claim` cost the length of the run of taken addresses they meet, at most the number of pods in it.
    """

    def __init__(self, cidr: str) -> None:
        network = ip_network(cidr)
        self.cidr = cidr
        self._base = int(network.network_address)
        self._address = type(network.network_address)
        self._end = network.num_addresses - (1 if network.version == 4 else 0)
        self._next = FIRST_POD_OFFSET
        self._taken: dict[int, str] = {}

    def __len__(self) -> int:
        """How many addresses are taken."""
        return len(self._taken)

    @property
    def size(self) -> int:
        """How many addresses pods may have in all."""
        return max(0, self._end - FIRST_POD_OFFSET)

    def take(self, holder: str) -> str | None:
        """An address that is free, `holder`'s from now on; None when there is none."""
        if len(self._taken) >= self.size:
            return None
        offset = self._next
        while offset in self._taken or offset >= self._end:
            offset = offset + 1 if offset < self._end else FIRST_POD_OFFSET
        return self._hold(offset, holder)

    def claim(self, address: str, holder: str) -> bool:
        """Whether that very address can be had: it is the holder's from now on (or has been already)."""
        offset = self._offset(address)
        if offset is None or self._taken.get(offset, holder) != holder:
            return False
        self._hold(offset, holder)
        return True

    def release(self, address: str, holder: str) -> None:
        """The holder gives the address back. Somebody else's is left alone."""
        offset = self._offset(address)
        if offset is not None and self._taken.get(offset) == holder:
            del self._taken[offset]

    def holder(self, address: str) -> str | None:
        """Who has the address, if anybody."""
        offset = self._offset(address)
        return None if offset is None else self._taken.get(offset)

    def _hold(self, offset: int, holder: str) -> str:
        self._taken[offset] = holder
        self._next = offset + 1
        return str(self._address(self._base + offset))

    def _offset(self, address: str) -> int | None:
        parsed = ip_address(address)
        if not isinstance(parsed, self._address):
            return None
        offset = int(parsed) - self._base
        return offset if FIRST_POD_OFFSET <= offset < self._end else None
