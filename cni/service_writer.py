"""The kernel's table for services kept as it is wanted, one nft transaction a change.

    a change ─▶ its commands ──refused?──▶ all that is wanted against what is in the kernel ──refused?──▶ the table anew
                                                                                                             │ refused?
                     without the objects whose rules nft does not take, each found by halving ◀──────────────┘

An object in quarantine is left alone until something of its own changes; until then none of its rules are in the
kernel. Nothing here knows what a service is.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from cni import nft, service_commands, service_reading, service_table
from cni.nft import RulesetError
from cni.nft_monitor import Monitor
from cni.service_table import FAMILY, TABLE, Fact
from ovnk.incremental.desired import Delta, Desired
from ovnk.incremental.graph import Derivation

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """What nft does not take: an object by its kind and key, its facts, and what nft says."""

    kind: type
    key: str
    facts: frozenset[Fact]
    why: str


class Writer:
    """`kinds` are the kinds of objects of which one can be left out; without all others nothing works."""

    def __init__(self, wanted: Desired, kinds: tuple[type, ...], tampered: Callable[[], None]) -> None:
        self._wanted, self._kinds, self._tampered = wanted, kinds, tampered
        self._monitor = Monitor(TABLE, self._heard)
        self._compare_wanted = True
        self.refused: dict[Derivation, Refused] = {}

    def start(self) -> None:
        """Hears of others' changes from now on."""
        self._monitor.start()

    def close(self) -> None:
        """Hears of nothing more."""
        self._monitor.close()

    async def apply(self, delta: Delta) -> None:
        """Puts into the kernel what has changed, and what did not get there before. Raises RulesetError."""
        self._release(delta)
        if not self._compare_wanted:
            try:
                await self._write(service_commands.commands(delta.added, delta.removed))  # type: ignore[arg-type]  # Facts
                return
            except RulesetError as error:
                log.warning("a change of the rules for services was refused; comparing all", why=str(error))
        self._compare_wanted = False
        try:
            await self._compare()
        except RulesetError:
            self._compare_wanted = True
            raise

    async def _compare(self) -> None:
        wanted = self._accepted()
        await self._write(service_table.frame())
        found = service_reading.read(await nft.run("-j", "-n", "list", "table", FAMILY, TABLE))
        added, removed = service_reading.difference(wanted, found)
        try:
            await self._write(service_commands.commands(added, removed))
        except RulesetError as error:
            # Something of another shape is there, an older version's or somebody's; or one object's rules are amiss.
            log.warning("making the table for services anew", why=str(error))
            await self._anew(wanted)
        if added or removed:
            log.info("made the rules for services as they should be", added=len(added), removed=len(removed))

    async def _anew(self, wanted: Iterable[Fact]) -> None:
        try:
            await self._write(_whole(wanted))
        except RulesetError:
            await self._quarantine()
            await self._write(_whole(self._accepted()))

    def _accepted(self) -> list[Fact]:
        """All that is wanted but for what is known to be refused."""
        refused = {fact for one in self.refused.values() for fact in one.facts}
        return [fact for fact in self._wanted if fact not in refused]  # type: ignore[misc]  # Facts

    def _release(self, delta: Delta) -> None:
        """Tries again those of which something has changed."""
        if not self.refused:
            return
        changed = {owner for fact in delta.added for owner in self._wanted.owners(fact)}
        released = [
            owner for owner, one in self.refused.items() if owner in changed or not one.facts.isdisjoint(delta.removed)
        ]
        for owner in released:
            del self.refused[owner]
            self._compare_wanted = True

    async def _quarantine(self) -> None:
        """Finds the objects whose rules are refused. Raises RulesetError if it is not because of them."""
        units: dict[Derivation, set[Fact]] = {}
        frame: list[Fact] = []
        for fact in self._accepted():
            owners = [
                one for one in self._wanted.owners(fact) if isinstance(one, Derivation) and one.kind in self._kinds
            ]
            if not owners:
                frame.append(fact)
            for owner in owners:
                units.setdefault(owner, set()).add(fact)
        await self._check(frame)
        pending = [list(units)]
        while pending:
            some = pending.pop()
            try:
                await self._check([*frame, *(fact for owner in some for fact in units[owner])])
            except RulesetError as error:
                if len(some) > 1:
                    half = len(some) // 2
                    pending += [some[:half], some[half:]]
                    continue
                (owner,) = some
                key, why = str(owner.key), _first_line(str(error))
                self.refused[owner] = Refused(owner.kind, key, frozenset(units[owner]), why)
                log.error("left out rules that nft refuses", kind=owner.kind.__name__, object=key, why=why)

    async def _check(self, facts: Iterable[Fact]) -> None:
        await nft.run("-c", "-f", "-", stdin=_whole(facts))

    async def _write(self, text: str) -> None:
        if not text:
            return
        try:
            await nft.run("-f", "-", stdin=text, started=self._monitor.expect)
        finally:
            self._monitor.forget()

    def _heard(self) -> None:
        self._compare_wanted = True
        self._tampered()


def _whole(facts: Iterable[Fact]) -> str:
    """The table made anew with just these facts, in one transaction."""
    add = f"add table {FAMILY} {TABLE}\n"
    return f"{add}delete table {FAMILY} {TABLE}\n{service_table.frame()}{service_commands.commands(facts, ())}"


def _first_line(complaint: str) -> str:
    return next(iter(complaint.splitlines()), "")
