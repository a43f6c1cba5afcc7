"""Address pools: which Service of type LoadBalancer has which external address. No I/O, no clock.

    PoolOffer, AddressDemand, TakenAddress (translate/pool_demands) ─▶ answer() ─▶ ServiceStatus ─▶ Services' status
                                                                              └──▶ Notice, PoolUse

The record is the Services' own status: what stands there when the lead is taken is kept, and no address is ever given
twice. A Service keeps its address until it goes, is no LoadBalancer any more, or asks for another one: editing or
deleting a pool breaks no traffic, but is told. What cannot be given is waited for, the oldest Service first.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from ovnk.incremental.desired import Delta
from ovnk.kube.objects import Key, Notice
from ovnk.kube.pool_objects import AddressRange, PoolUse
from ovnk.kube.service_objects import PoolAnswer, ServiceStatus
from ovnk.translate.pool_demands import AddressDemand, PoolOffer, TakenAddress

# (IP version, the address as a number)
Number = tuple[int, int]
# (reason, message)
Problem = tuple[str, str]


@dataclass(slots=True)
class Answers:
    """What came of it: statuses to write, pools whose use is another now, and what should be told."""

    statuses: list[ServiceStatus] = field(default_factory=list)
    pools: list[PoolUse] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


class AddressPools:
    """Takes deltas of offers, demands and taken addresses, and answers the demands."""

    def __init__(self) -> None:
        self._pools: dict[str, _Pool] = {}
        self._demands: dict[Key, AddressDemand] = {}
        # Whose an address is, by number; and the same by Service. An entry without addresses: it was looked at.
        self._holders: dict[Number, Key] = {}
        self._held: dict[Key, list[Number]] = {}
        self._taken: dict[Number, set[str]] = defaultdict(set)
        self._waiting: set[Key] = set()
        self._told: dict[Key, PoolAnswer] = {}
        # Since it was last looked: whether an address became free, and the pools whose use changed.
        self._freed = False
        self._used: set[str] = set()

    def answer(self, delta: Delta) -> Answers:
        """Answer what came, and what waited for what went. The cost follows the Services that are touched or wait."""
        concerned = self._note(delta)
        for demand in self._by_age(concerned):
            self._keep(demand)
        decided: dict[Key, PoolAnswer | None] = {}
        if self._freed:
            concerned |= self._waiting
        while concerned:
            self._freed = False
            for demand in self._by_age(concerned):
                if not self._is_foreign(demand):
                    decided[demand.key] = self._decide(demand)
            concerned = set(self._waiting) if self._freed else set()
        found = Answers()
        for key, answer in decided.items():
            self._report(self._demands[key], answer, found)
        found.pools = [self._pools[name].use() for name in sorted(self._used) if name in self._pools]
        self._used.clear()
        return found

    def _by_age(self, keys: Iterable[Key]) -> list[AddressDemand]:
        return sorted((self._demands[key] for key in keys), key=lambda one: (one.created, one.uid, one.key))

    # -- what came and went

    def _note(self, delta: Delta) -> set[Key]:
        """Take the delta in; the Services it is about."""
        renewed = {fact.key: fact for fact in delta.added if isinstance(fact, AddressDemand)}
        for fact in delta.removed:
            if isinstance(fact, PoolOffer):
                self._pools.pop(fact.name, None)
            elif isinstance(fact, TakenAddress):
                self._taken[_number(fact.address)].discard(fact.owner)
                self._freed = True
            elif isinstance(fact, AddressDemand):
                successor = renewed.get(fact.key)
                if successor is None or successor.uid != fact.uid:
                    self._forget(fact.key)
        changed = set(renewed)
        self._demands |= renewed
        for fact in delta.added:
            if isinstance(fact, PoolOffer):
                self._pools[fact.name] = _Pool(fact, self._holders)
                self._used.add(fact.name)
                changed |= {key for key, demand in self._demands.items() if fact.name in demand.pools}
            elif isinstance(fact, TakenAddress):
                self._taken[_number(fact.address)].add(fact.owner)
        return changed

    def _forget(self, key: Key) -> None:
        for number in self._held.pop(key, ()):
            self._release(number)
        self._demands.pop(key, None)
        self._waiting.discard(key)
        self._told.pop(key, None)

    def _keep(self, demand: AddressDemand) -> None:
        """What the Service has stays its own, unless it shall have nothing of us, or of that family, any more."""
        if demand.key not in self._held:
            self._held[demand.key] = []
            for number in map(_number, demand.addresses):
                if number not in self._holders and (demand.answer is not None or self._pool_of(demand, number)):
                    self._hold(number, demand.key)
        self._drop(demand, lambda number: not demand.wanted or number[0] not in demand.families)

    def _hold(self, number: Number, key: Key) -> None:
        self._holders[number] = key
        self._held[key].append(number)
        self._count(number, 1)

    def _drop(self, demand: AddressDemand, condition: Callable[[Number], bool]) -> None:
        """Take away what the Service has of which the condition holds."""
        held = self._held[demand.key]
        for number in filter(condition, tuple(held)):
            held.remove(number)
            self._release(number)

    def _release(self, number: Number) -> None:
        del self._holders[number]
        self._count(number, -1)
        self._freed = True

    def _count(self, number: Number, step: int) -> None:
        for name, pool in self._pools.items():
            if pool.has(number):
                pool.assigned[number[0]] += step
                self._used.add(name)

    # -- decisions

    def _is_foreign(self, demand: AddressDemand) -> bool:
        """Whether its addresses are somebody else's, of no pool: they stay, and are nothing to complain about."""
        return demand.answer is None and bool(demand.addresses) and not self._held[demand.key]

    def _decide(self, demand: AddressDemand) -> PoolAnswer | None:
        """Give what is missing, if it can be; what has become of it."""
        problems = list(self._fill(demand)) if demand.wanted else []
        if problems:
            self._waiting.add(demand.key)
            return PoolAnswer(False, problems[0][0], "; ".join(message for _, message in problems))
        self._waiting.discard(demand.key)
        held = self._in_order(demand)
        return PoolAnswer(True, "Assigned", self._origin(demand, held)) if held else None

    def _report(self, demand: AddressDemand, answer: PoolAnswer | None, found: Answers) -> None:
        addresses = tuple(map(_text, self._in_order(demand)))
        if (addresses, answer) != (demand.addresses, demand.answer):
            found.statuses.append(ServiceStatus(demand.key, demand.uid, addresses, answer))
        known = self._told.pop(demand.key, demand.answer)
        if answer is None:
            return
        self._told[demand.key] = answer
        # A Service that had to wait is told when that is over; one that never did needs no news.
        if answer != known and (not answer.assigned or (known is not None and not known.assigned)):
            notice = Notice("Service", demand.key, answer.reason, answer.message, demand.uid, not answer.assigned)
            found.notices.append(notice)

    def _in_order(self, demand: AddressDemand) -> list[Number]:
        """What the Service has, by its families and then by number: no order of events may show."""
        return sorted(self._held[demand.key], key=lambda one: (demand.families.index(one[0]), one[1]))

    def _fill(self, demand: AddressDemand) -> Iterator[Problem]:
        """Give each family its addresses; what cannot be given, or only be kept."""
        requests: dict[int, list[Number]] = defaultdict(list)
        for text in demand.requested:
            try:
                number = _number(text)
            except ValueError:
                yield "RequestInvalid", f'"{text}" was asked for, but is not an IP address'
                continue
            if number[0] in demand.families:
                requests[number[0]].append(number)
            else:
                yield "RequestInvalid", f'"{text}" was asked for, but IPv{number[0]} is no family of the Service'
        for family in demand.families:
            if requests[family]:
                yield from self._fulfil(demand, family, requests[family])
            else:
                yield from self._any(demand, family)

    def _fulfil(self, demand: AddressDemand, family: int, requested: list[Number]) -> Iterator[Problem]:
        """Those very addresses. As long as it gets none of them, the Service keeps what it has."""
        for number in requested:
            yield from self._claim(demand, number)
        if any(self._holders.get(number) == demand.key for number in requested):
            self._drop(demand, lambda number: number[0] == family and number not in requested)

    def _claim(self, demand: AddressDemand, number: Number) -> Iterator[Problem]:
        text, holder = _text(number), self._holders.get(number)
        if holder == demand.key:
            yield from self._outside(demand, number)
        elif self._pool_of(demand, number) is None:
            yield "RequestOutsidePools", f'"{text}" was asked for, but is in no AddressPool for this Service'
        elif holder is not None:
            yield "RequestTaken", f'"{text}" was asked for, but Service "{holder}" has it'
        elif owner := self._owner(number, demand.key):
            yield "RequestTaken", f'"{text}" was asked for, but {owner} has it'
        else:
            self._hold(number, demand.key)

    def _any(self, demand: AddressDemand, family: int) -> Iterator[Problem]:
        """Some address of the family."""
        held = [number for number in self._held[demand.key] if number[0] == family]
        if held:
            for number in held:
                yield from self._outside(demand, number)
            return
        pools = [pool for pool in self._candidates(demand) if pool.offer.auto_assign]
        giving = [pool for pool in pools if pool.size(family)]
        for pool in giving:
            free = pool.free(family, lambda one: one in self._holders or bool(self._owner(one, demand.key)))
            if free is not None:
                self._hold(free, demand.key)
                return
        if giving:
            names = ", ".join(f'"{pool.offer.name}"' for pool in giving)
            yield "PoolExhausted", f"no IPv{family} address is free in AddressPool {names}; the Service waits for one"
        elif not any(pool.size(other) for pool in pools for other in demand.families):
            # Of two families one is enough, as for a dual-stack Service in a cluster of one family.
            yield "NoPool", f"no AddressPool gives this Service an IPv{family} address of itself"

    def _outside(self, demand: AddressDemand, number: Number) -> Iterator[Problem]:
        if self._pool_of(demand, number) is None:
            why = (
                f'keeps "{_text(number)}", which is in no AddressPool for this Service any more; put it back into one, '
                "or ask for another address with the annotation ovnk.io/load-balancer-ips"
            )
            yield "OutsidePools", why

    def _origin(self, demand: AddressDemand, held: Iterable[Number]) -> str:
        found = [(number, self._pool_of(demand, number)) for number in held]
        return ", ".join(f'"{_text(number)}" of AddressPool "{pool.offer.name}"' for number, pool in found if pool)

    def _candidates(self, demand: AddressDemand) -> list["_Pool"]:
        return [self._pools[name] for name in demand.pools if name in self._pools]

    def _pool_of(self, demand: AddressDemand, number: Number) -> "_Pool | None":
        return next((pool for pool in self._candidates(demand) if pool.has(number)), None)

    def _owner(self, number: Number, key: Key) -> str:
        """Who has the address already without a pool, other than this Service; "" for nobody."""
        return next(iter(sorted(self._taken.get(number, set()) - {f"Service {key}"})), "")


class _Pool:
    """An offer, where the search for a free address goes on, and how many are assigned."""

    def __init__(self, offer: PoolOffer, holders: Iterable[Number]) -> None:
        self.offer = offer
        self._next: dict[int, int] = {}
        self._sizes = {4: 0, 6: 0}
        for version, first, last in offer.ranges:
            self._sizes[version] += last - first + 1
        self.assigned = {4: 0, 6: 0}
        for number in holders:
            if self.has(number):
                self.assigned[number[0]] += 1

    def has(self, number: Number) -> bool:
        return any(version == number[0] and first <= number[1] <= last for version, first, last in self.offer.ranges)

    def size(self, family: int) -> int:
        return self._sizes[family]

    def use(self) -> PoolUse:
        counts = ((family, self.assigned[family], self.size(family)) for family in (4, 6))
        return PoolUse(self.offer.name, tuple(count for count in counts if count[2]))

    def free(self, family: int, busy: Callable[[Number], bool]) -> Number | None:
        """A free address, round and round: one that was given back is the last to be given again.

        Linear in the run of busy addresses that is met.
        """
        if self.assigned[family] >= self._sizes[family]:
            return None
        start = self._next.get(family, 0)
        ranges = [one for one in self.offer.ranges if one[0] == family]
        ahead: list[AddressRange] = [(family, max(first, start), last) for _, first, last in ranges]
        for _, first, last in (*ahead, *ranges):
            for value in range(first, last + 1):
                if not busy((family, value)):
                    self._next[family] = value + 1
                    return family, value
        return None


def _number(text: str) -> Number:
    address = ip_address(text)
    return address.version, int(address)


def _text(number: Number) -> str:
    return str((IPv6Address if number[0] == 6 else IPv4Address)(number[1]))
