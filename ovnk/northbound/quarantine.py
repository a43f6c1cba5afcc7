"""Quarantine: the owners whose rows the database rejects, and who waits for them.

An owner stays until something about it changes, or until all is compared; then its rows, and those of whoever waits
for it, are compared anew.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ovnk.northbound.changes import Place, Unit
from ovnk.northbound.transaction import Outcome


@dataclass(frozen=True, slots=True)
class _Patient:
    """Why it is here, the rows it is about, those it could not insert, and whom it waits for ("" = nobody)."""

    why: str
    places: frozenset[Place]
    inserts: frozenset[str]
    behind: str = ""


class Quarantine:
    """Owners by name."""

    def __init__(self) -> None:
        self._patients: dict[str, _Patient] = {}

    def __contains__(self, owner: str) -> bool:
        """Whether the owner is in it."""
        return owner in self._patients

    def reasons(self) -> dict[str, str]:
        """Why, by owner."""
        return {owner: patient.why for owner, patient in self._patients.items()}

    def refused(self) -> set[str]:
        """The UUIDs of the rows that could not be inserted."""
        return {uuid for patient in self._patients.values() for uuid in patient.inserts}

    def put_away(
        self, rejected: Iterable[tuple[Unit, Outcome]], blocked: Iterable[tuple[Unit, str]]
    ) -> Mapping[str, str]:
        """Takes these in: those the database rejected, and those that need the row of the UUID. Why, by owner."""
        found: dict[str, str] = {}
        for unit, outcome in rejected:
            found[unit.name] = self._take(unit, f"{outcome.error}: {outcome.details}", "")
        for unit, needed in blocked:
            behind = next((owner for owner, patient in self._patients.items() if needed in patient.inserts), needed)
            found[unit.name] = self._take(unit, f'waits for the rows of "{behind}"', behind)
        return found

    def places(self, owner: str) -> set[Place]:
        """The rows to compare when the owner has changed: its own, and those of whoever waits for it."""
        owners = [owner]
        for name in owners:
            owners += [
                other for other, patient in self._patients.items() if patient.behind == name and other not in owners
            ]
        return {place for name in owners for place in self._patients[name].places}

    def release(self, places: AbstractSet[Place]) -> None:
        """Lets those go whose rows are all among these: they are about to be tried."""
        self._patients = {owner: patient for owner, patient in self._patients.items() if not patient.places <= places}

    def clear(self) -> None:
        """Lets all go."""
        self._patients.clear()

    def _take(self, unit: Unit, why: str, behind: str) -> str:
        self._patients[unit.name] = _Patient(why, frozenset(unit.places()), frozenset(unit.inserts()), behind)
        return why
