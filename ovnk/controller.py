"""The controller: Kubernetes in, the northbound and NodeNetworks out. The only loop; it decides nothing itself.

    informers ─▶ inbox ─▶ compiler.apply ─▶ settle ─┬─▶ publisher.flush ─▶ NodeNetworkWriter
                   ▲                                ├─▶ pools' answers ─▶ PoolWriter
                   │                                └─▶ northbound (in a thread; one delta in flight)
    lease, database ──┘  (they only wake the loop)

Changes that arrive while a delta is being committed form the next one. Nothing is written before every kind has been
listed once, nor while another process leads: a standby keeps its graph warm.
"""

import asyncio
import time
from collections import deque

import structlog

from ovnk import memory
from ovnk.compiler import Compiler
from ovnk.errors import CommitError, InvalidObject
from ovnk.health import Health
from ovnk.kube import decode, listing
from ovnk.kube.backoff import Backoff
from ovnk.kube.client import ApiError, Client
from ovnk.kube.events import EventRecorder, Subject
from ovnk.kube.lease import Lease
from ovnk.kube.objects import Change, NodeNetwork, Notice, Put, Remove
from ovnk.kube.policy_objects import Standing
from ovnk.kube.policy_status import PolicyStatusWriter
from ovnk.kube.pool_status import PoolWriter
from ovnk.kube.status import NodeNetworkWriter, Write
from ovnk.kube.watch import Informer
from ovnk.northbound.changes import Place
from ovnk.northbound.facts import Fact, Member, Row
from ovnk.northbound.writer import Northbound
from ovnk.pace import Pace
from ovnk.publisher import Publisher
from ovnk.settings import ControllerSettings
from ovnk.translate import names

log = structlog.get_logger()

# So many derivations are run before the loop looks after its connections again (some 50 ms).
SLICE_DERIVATIONS = 2000
BACKOFF_FIRST_S = 0.2
BACKOFF_MOST_S = 10.0


class Controller:
    """One candidate for the lead; `run` works until cancelled."""

    def __init__(self, settings: ControllerSettings, identity: str, client: Client, northbound: Northbound) -> None:
        self._settings, self._client, self._northbound = settings, client, northbound
        self._compiler = Compiler(settings.cluster, settings.networks)
        self._lease = Lease(client, settings.lease_namespace, settings.lease_name, identity)
        self._events = EventRecorder(client, "ovnk-controller", identity)
        self._writer = NodeNetworkWriter(client, written=self._written, conflict=self._conflicted)
        self._pool_writer = PoolWriter(client)
        self._policy_status = PolicyStatusWriter(client)
        self._publisher = Publisher(self._writer.submit)
        self._inbox: deque[Change] = deque()
        self._wake = asyncio.Event()
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MOST_S)
        self._informers = {
            kind: Informer(client, resource, decoder, self._emit, invalid=self._complain, optional=optional)
            for kinds, optional in ((decode.KINDS, False), (decode.OPTIONAL_KINDS, True))
            for kind, (resource, decoder) in kinds.items()
        }
        # The NodeNetworks from which the lead was taken, until they have been compared with what is wanted.
        self._records: list[NodeNetwork] | None = None
        # Whether deltas suffice; and whether no comparison was through yet, so that it may be somebody else's database.
        self._compared = False
        self._first = True
        self._may_steal = False
        self.health = Health(
            self._compiler, self._informers, self._lease, self._writer, northbound, settings.first_delete_share
        )
        self._metrics = self.health.metrics

    async def run(self) -> None:
        """Watch, decide and write until cancelled; then give the lease and the database's lock back."""
        loop = asyncio.get_running_loop()

        def database_changed() -> None:
            loop.call_soon_threadsafe(self._wake.set)

        self._northbound.want_lock(False)
        self._northbound.start(database_changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                for informer in self._informers.values():
                    tasks.create_task(informer.run())
                for part in (
                    self._events.run(),
                    self._writer.run(),
                    self._pool_writer.run(),
                    self._policy_status.run(),
                    self._lease.run(self._lease_changed),
                    self._work(),
                ):
                    tasks.create_task(part)
        finally:
            await asyncio.to_thread(self._northbound.stop)

    @property
    def synced(self) -> bool:
        """Whether every kind has been listed once."""
        return all(informer.synced for informer in self._informers.values())

    # -- what wakes the loop

    def _emit(self, change: Change) -> None:
        self._inbox.append(change)
        self._wake.set()

    def _complain(self, error: InvalidObject) -> None:
        log.warning("object cannot be used", kind=error.kind, key=error.key, field=error.field, why=error.why)
        self._events.record(Subject.of(error), "Invalid", f"{error.field} {error.why}")

    def _lease_changed(self, _leads: bool) -> None:
        self._wake.set()

    def _written(self, write: Write, version: str) -> None:
        self._metrics.writes.inc()
        self._publisher.written(write, version)
        self._wake.set()

    def _conflicted(self, write: Write, _current: NodeNetwork | None) -> None:
        # Somebody else decided in between: begin from the record as it is now.
        log.warning("somebody else wrote a NodeNetwork; taking over anew", node=write.node)
        self._compiler.follow()
        self._wake.set()

    # -- the loop

    async def _work(self) -> None:
        loop, pace = asyncio.get_running_loop(), Pace()
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.health.look_at_northbound()
            pace.turn_begins(loop.time())
            try:
                if await self._settle():
                    self._publish()
                    await self._commit()
                self._backoff.reset()
                self.health.turn_succeeded()
            except (ApiError, CommitError) as error:
                # What is wanted is known, so nothing is lost: the next turn begins from there.
                self.health.turn_failed(error)
                loop.call_later(self._backoff.next_s(), self._wake.set)
            more = bool(self._inbox)
            self._writer.expect(more)
            if pause_s := pace.turn_ends(loop.time(), more):
                await asyncio.sleep(pause_s)

    async def _settle(self) -> bool:
        """Take in what came and work out what follows; whether there is a whole picture to act upon."""
        began = time.perf_counter()
        while self._inbox:
            change = self._inbox.popleft()
            self._observe(change)
            self._compiler.apply(change)
        if not self.synced:
            return False
        self._look_at_schema()
        await self._lead_or_follow()
        while True:
            settled, notices = self._compiler.settle(SLICE_DERIVATIONS)
            self._tell(notices)
            if settled:
                break
            await asyncio.sleep(0)
        self.health.look_at_graph()
        self._metrics.synced.set(1)
        self._metrics.settle_seconds.observe(time.perf_counter() - began)
        return True

    def _tell(self, notices: list[Notice]) -> None:
        for notice in notices:
            subject = Subject(notice.kind, notice.key, notice.uid)
            self._events.record(subject, notice.reason, notice.message, warning=notice.warning)

    def _look_at_schema(self) -> None:
        """Compile for what the northbound can do: it may have been converted while the connection was lost."""
        if self._northbound.connected and self._northbound.acl_tiers != self._compiler.acl_tiers:
            self._compiler.have_acl_tiers(self._northbound.acl_tiers)
            log.info("tiers of ACLs", there=self._northbound.acl_tiers)

    async def _lead_or_follow(self) -> None:
        """Begin or cease to decide, as the lease says."""
        self._metrics.leading.set(self._lease.leads)
        if self._lease.leads and not self._compiler.leading:
            # A consistent read: the watch may lag behind what the last leader wrote.
            self._records = await listing.values(self._client, decode.NODE_NETWORKS, decode.node_network)
            self._tell(self._compiler.lead(self._records))
            self._compared, self._may_steal = False, self._lease.took_over
            await asyncio.to_thread(self._northbound.want_lock, True)
            log.info("leading", node_networks=len(self._records))
        elif not self._lease.leads and self._compiler.leading:
            self._writer.clear()
            self._pool_writer.clear()
            self._policy_status.clear()
            self._compiler.follow()
            await asyncio.to_thread(self._northbound.want_lock, False)
            log.info("following")

    def _observe(self, change: Change) -> None:
        """Notice edits of NodeNetworks by somebody else; while we do not write them they are the record."""
        if not self._compiler.leading or self._records is not None:
            return
        notice = None
        if isinstance(change, Put) and isinstance(change.value, NodeNetwork):
            notice = self._publisher.observe(change.value.name, change.value)
        elif isinstance(change, Remove) and change.kind is NodeNetwork:
            notice = self._publisher.observe(change.key, None)
        if notice is not None:
            log.warning("NodeNetwork put right", node=notice.key, what=notice.message)
            self._tell([notice])

    def _publish(self) -> None:
        wanted, standings = self._compiler.outputs.node_networks, self._compiler.outputs.standings
        delta, changed = wanted.take(), standings.take().added
        if not self._compiler.leading:
            return
        if self._records is not None:
            self._publisher.begin(wanted, self._records)
            self._records = None
            changed = frozenset(standings)
        else:
            self._publisher.apply(delta)
        self._publisher.flush()
        self._policy_status.submit(one for one in changed if isinstance(one, Standing))
        answers = self._compiler.take_answers()
        self._pool_writer.submit(answers.statuses, answers.pools)

    async def _commit(self) -> None:
        """Bring the northbound to what is wanted, by the least: a delta, some rows looked at, or a whole comparison."""
        wanted = self._compiler.outputs.northbound
        delta = wanted.take()
        if not self._compiler.leading or not self._northbound.has_lock:
            self._compared = False
            await self._fence()
            return
        if self._northbound.acl_tiers != self._compiler.acl_tiers:
            # It has just been connected: what was compiled is for another.
            self._compared = False
            self._wake.set()
            return
        if self._compared and self._northbound.synced:
            if delta:
                self.health.committed("committed", await asyncio.to_thread(self._northbound.apply, delta))
            if self._northbound.drifted and (drift := await asyncio.to_thread(self._northbound.drift)):
                facts = self._facts_about(drift.rows)
                self._metrics.reconciliations.labels("drift").inc()
                commit = await asyncio.to_thread(self._northbound.repair, drift, facts, self._held())
                if commit.operations:
                    self.health.committed("rows put right", commit)
            return
        limit = self._settings.first_delete_share if self._first else None
        self._metrics.reconciliations.labels("start" if self._first else "connection").inc()
        commit = await asyncio.to_thread(self._northbound.reconcile, self._facts(), self._held(), limit)
        self._compared = True
        self._first = bool(commit.held_back)
        memory.settle_down()
        self.health.compared(commit)
        # What came meanwhile has not woken us, if it came before the comparison was through.
        self._wake.set()

    async def _fence(self) -> None:
        """Take the lock from the leader before us, where it lost its lease without giving the lock away: it is stuck.

        Once, and from nobody else: who took the lock from us, or is of another lease, is waited for.
        """
        if self._compiler.leading and self._may_steal and self._northbound.contended:
            self._may_steal = False
            log.warning("the leader before us has stopped and holds the northbound's lock; taking it")
            await asyncio.to_thread(self._northbound.steal_lock)

    def _facts(self) -> list[Fact]:
        return list(self._compiler.outputs.northbound)  # type: ignore[arg-type]  # the northbound holds Facts alone

    def _facts_about(self, places: frozenset[Place]) -> list[Fact]:
        """What shall stand at these places. Looks at each element there is: some 10 ms at 50,000 pods."""
        northbound = self._compiler.outputs.northbound
        tables = {table for table, _ in places}
        found: list[Fact] = [row for place in places if isinstance(row := northbound.about(place), Row)]
        found += [
            fact
            for fact in northbound
            if type(fact) is Member and fact.table in tables and (fact.table, fact.key) in places
        ]
        return found

    def _held(self) -> frozenset[tuple[str, str]]:
        """Owner and rule of what functions that failed had yielded, perhaps in an earlier process."""
        return frozenset(
            (names.owner(failure.kind.__name__, str(failure.key)), failure.rule)
            for failure in self._compiler.graph.failures.values()
        )
