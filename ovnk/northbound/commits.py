"""Commits: units sent in transactions, so that one bad row does not block the rest.

A transaction that the database rejects is halved until the units that cannot be stand alone; everything else is
committed. Whoever needs a row of such a unit is held up with it. What is done about them is the caller's business.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from ovnk.errors import CommitError
from ovnk.northbound.changes import Unit, operations
from ovnk.northbound.replica import Seen
from ovnk.northbound.schema import Json
from ovnk.northbound.transaction import Link, Operations, Outcome, Verdict


@dataclass(slots=True)
class Sent:
    """What was committed, in numbers, and what was not.

    `rejected` are units with the database's answer, `blocked` units with the UUID of a row they need that belongs to
    one of those. `missing` are rows that were to be changed and are not there.
    """

    rows: int = 0
    operations: int = 0
    transactions: int = 0
    rejected: list[tuple[Unit, Outcome]] = field(default_factory=list)
    blocked: list[tuple[Unit, str]] = field(default_factory=list)
    missing: set[Seen] = field(default_factory=set)


# A chunk that was sent, with its operations; none where it comes to nothing.
_Try = tuple[list[Unit], list[dict[str, Json]]]


def send(link: Link, todo: Iterable[list[Unit]], refused: set[str]) -> Sent:
    """Commits the chunks; `refused` are the UUIDs of rows that earlier calls could not insert.

    A chunk is asked for when there is room for it on the way, in the connection's thread: so the server works on some
    while the next is being planned. Raises CommitError where the server takes nothing, or where it is not known what
    it took.
    """
    sent = Sent()
    refused = set(refused)
    rest = iter(todo)
    waiting = deque(islice(rest, 1))
    while waiting:
        tries: list[_Try] = []
        held: list[list[Unit]] = []
        free = _free(_following(waiting, rest), refused, sent)
        outcomes = iter(link.commit(_commands(link, _independent(free, held), tries)))
        again: list[list[Unit]] = []
        for chunk, done in tries:
            if not done:
                continue
            outcome = next(outcomes, _CLOSED)
            if outcome.verdict is Verdict.COMMITTED:
                _count(done, outcome, sent)
            elif outcome.verdict is not Verdict.REJECTED:
                raise failure(outcome)
            elif len(chunk) > 1:
                again += [chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]]
            else:
                sent.rejected.append((chunk[0], outcome))
                refused |= chunk[0].inserts()
        if waiting and not tries:
            raise failure(_CLOSED)
        waiting.extendleft(reversed(again + held))
        waiting.extend(islice(rest, 0 if waiting else 1))
    return sent


_CLOSED = Outcome(Verdict.UNKNOWN, [], "the connection was closed")


def failure(outcome: Outcome) -> CommitError:
    """The error for a transaction that failed whatever was in it."""
    if outcome.verdict is Verdict.NOT_LOCKED:
        return CommitError(
            "the northbound's lock is held by another process; outcome unknown: reconcile once we hold it"
        )
    if outcome.verdict is Verdict.UNKNOWN:
        return CommitError(f"the northbound did not answer ({outcome.error}); outcome unknown: reconcile")
    return CommitError(
        f"the northbound takes no writes: {outcome.error}: {outcome.details}; is its server read-only, a backup, "
        "or out of space? Nothing more is written until it takes writes again"
    )


def _following(waiting: deque[list[Unit]], rest: Iterator[list[Unit]]) -> Iterator[list[Unit]]:
    while waiting:
        yield waiting.popleft()
    for chunk in rest:  # noqa: UP028  "yield from" would close `rest` with this generator; others go on with it
        yield chunk


def _free(todo: Iterator[list[Unit]], refused: set[str], sent: Sent) -> Iterator[list[Unit]]:
    """The chunks without the units that need a refused row; those are held up, and whoever needs them in turn."""
    for chunk in todo:
        free = [unit for unit in chunk if not (refused and _is_blocked(unit, refused, sent))]
        if free:
            yield free


def _is_blocked(unit: Unit, refused: set[str], sent: Sent) -> bool:
    needed = next((uuid for uuid in unit.needs() if uuid in refused), "")
    if needed:
        sent.blocked.append((unit, needed))
        refused |= unit.inserts()
    return bool(needed)


def _independent(todo: Iterator[list[Unit]], held: list[list[Unit]]) -> Iterator[list[Unit]]:
    """The chunks up to the first that needs a row of one before it, which is `held`.

    That one has to wait for the outcome: an element in a row that was rejected is lost without an error, and a pod's
    port would come to be without its policies.
    """
    inserted: set[str] = set()
    for chunk in todo:
        if inserted and any(uuid in inserted for unit in chunk for uuid in unit.needs()):
            held.append(chunk)
            return
        yield chunk
        for unit in chunk:
            inserted |= unit.inserts()


def _commands(link: Link, todo: Iterator[list[Unit]], tries: list[_Try]) -> Iterator[Operations]:
    """The chunks as commands, those left out that come to nothing."""
    for chunk in todo:
        done = operations(chunk)
        tries.append((chunk, done))
        if done:
            touched = {(change.place[0], change.uuid) for unit in chunk for change in unit.changes}
            yield Operations(link, done, touched)


def _count(done: list[dict[str, Json]], outcome: Outcome, sent: Sent) -> None:
    sent.transactions += 1
    sent.operations += len(done)
    touched = set()
    for operation, result in zip(done, outcome.results, strict=False):
        uuid = operation["uuid"] if operation["op"] == "insert" else _target(operation)
        touched.add((operation["table"], uuid))
        if result.get("count") == 0 and operation["op"] != "delete":
            sent.missing.add((operation["table"], uuid))
    sent.rows += len(touched)


def _target(operation: dict[str, Json]) -> str:
    where: Json = operation["where"]
    return str(where[0][2][1]) if where else ""
