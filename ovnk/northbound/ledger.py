"""The ledger: which rows of ours the database holds, which facts wait for a row it does not, and what is amiss.

OVSDB forgets without a word, or refuses, an element in a row that is nowhere or about one, and a row of a non-root
table that nothing refers to (RFC 7047 §3.2). Such facts are not sent; when what they lack comes, the rows concerned
are amiss: they are to be compared with what is desired. The ledger holds no facts, so it cannot complete them itself.
"""

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet

from ovnk.northbound.changes import Change, MemberChange, Place, RowChange, Unit
from ovnk.northbound.comparison import Comparison
from ovsdb_schemas.northbound import TABLES


class Ledger:
    """What is in the database of ours, by UUID. Not safe for use by several threads at once, but for `known`."""

    def __init__(self) -> None:
        self.known: dict[str, Place] = {}
        # the places to be compared; whoever compares them takes them
        self.amiss: set[Place] = set()
        # the UUID of a row that is nowhere → the places that hold elements in or about it
        self._waiting: dict[str, set[Place]] = {}
        # rows of non-root tables that are desired, but nowhere, as nothing refers to them
        self._orphans: dict[str, Place] = {}
        # root rows that were withdrawn, perhaps not with all their elements, which then come back with them
        self._gone: set[str] = set()

    def compared(self, comparison: Comparison) -> None:
        """The whole database was compared: what was known before is void."""
        self.known, self._waiting = comparison.known, comparison.waiting
        self._orphans, self._gone, self.amiss = {}, set(), set()

    def compared_rows(self, comparison: Comparison, places: AbstractSet[Place], uuids: Iterable[str]) -> None:
        """The rows of these places were compared."""
        for uuid in uuids:
            self.known.pop(uuid, None)
        self.known.update(comparison.known)
        self._waiting = {uuid: rest for uuid, waiting in self._waiting.items() if (rest := waiting - places)}
        for uuid, waiting in comparison.waiting.items():
            self._waiting.setdefault(uuid, set()).update(waiting)
            if uuid in self._orphans and uuid in comparison.wanted:
                self.amiss |= {self._orphans[uuid], *waiting}

    def placeable(self, changes: Collection[Change], refused: AbstractSet[str]) -> list[Change]:
        """The changes that the database would keep, taken as done; the others wait for what they lack.

        `refused` are rows the database rejected: who needs one of those is held up with it, which is not for here.
        """
        for change in changes:
            if change.verb == "delete":
                self.known.pop(change.uuid, None)
                self._orphans.pop(change.uuid, None)
                if TABLES[change.place[0]].root:
                    self._gone.add(change.uuid)
        inserts = {change.uuid: change.place for change in changes if change.verb == "insert"}
        adopted = self._adopted(changes, inserts)
        for uuid, place in inserts.items():
            if uuid in adopted or TABLES[place[0]].root:
                self._arrives(uuid, place)
            else:
                self._is_orphaned(uuid, place)
        return [change for change in changes if self._keeps(change, refused)]

    def committed(self, units: Iterable[Unit]) -> None:
        """The units are in the database, but for those that `rejected` was told of: who waited for them is amiss."""
        for unit in units:
            for change in unit.changes:
                if change.verb == "insert" and change.uuid in self._waiting and change.uuid in self.known:
                    self.amiss |= self._waiting.pop(change.uuid)

    def rejected(self, unit: Unit) -> None:
        """The unit is not in the database after all."""
        for change in unit.changes:
            if change.verb == "insert":
                self.known.pop(change.uuid, None)
            elif change.verb == "delete":
                self.known[change.uuid] = change.place

    def look_at(self, uuids: Iterable[str]) -> set[Place]:
        """Notes that those of these rows that are ours are amiss; their places."""
        places = {self.known[uuid] for uuid in uuids if uuid in self.known}
        self.amiss |= places
        return places

    def _adopted(self, changes: Iterable[Change], inserts: Collection[str]) -> set[str]:
        """The rows that something will refer to strongly; an orphan among them is amiss until it is inserted."""
        adopted = {uuid for change in changes if isinstance(change, RowChange) for uuid in change.refers}
        for change in changes:
            if not isinstance(change, MemberChange) or change.verb != "add":
                continue
            strong = TABLES[change.place[0]].columns[change.column].strong
            if strong and (change.uuid in self.known or change.uuid in inserts):
                adopted.add(change.refers)
                if change.refers in self._orphans and change.refers not in inserts:
                    self.amiss |= {self._orphans[change.refers], change.place}
        return adopted

    def _arrives(self, uuid: str, place: Place) -> None:
        self._orphans.pop(uuid, None)
        self.known[uuid] = place
        if uuid in self._gone:
            self._gone.discard(uuid)
            self.amiss.add(place)

    def _is_orphaned(self, uuid: str, place: Place) -> None:
        is_new = uuid not in self._orphans
        self._orphans[uuid] = place
        self.known.pop(uuid, None)
        if is_new and uuid in self._waiting:
            self.amiss |= {place, *self._waiting.pop(uuid)}

    def _keeps(self, change: Change, refused: AbstractSet[str]) -> bool:
        if change.verb == "insert":
            return change.uuid not in self._orphans
        if change.verb != "add":
            return True
        for uuid in (change.uuid, change.refers):
            if uuid and uuid not in self.known and uuid not in refused:
                self._waiting.setdefault(uuid, set()).add(change.place)
                return False
        return True
