"""The session: one connection to the northbound kept up, whatever becomes of its server.

A thread of its own fetches the schema, checks it, and runs the Idl; when the server comes back with another schema it
begins anew. It says whether there is a connection, whose lock it is, and in plain words what is wrong.
"""

import threading
import time
from collections.abc import Callable

from ovnk.errors import CommitError
from ovnk.northbound import framing, patience
from ovnk.northbound.remotes import Tls, fetch_schema, parse
from ovnk.northbound.replica import Replica
from ovnk.northbound.schema import Wire
from ovnk.northbound.transaction import Link
from ovsdb_schemas import check
from ovsdb_schemas.northbound import DATABASE, TABLES

# A server that does not answer for so long is given up, and the connection with it.
REPLY_S_MAX = 30.0
SCHEMA_S_MAX = 5.0
STOP_S_MAX = 1.0


class Session:
    """A connection to the first of `remotes` that will do, kept up by a thread between `start` and `stop`.

    `concerns` says whether a change of the row with that UUID matters (see Replica). Raises ConfigError for remotes
    or TLS files that cannot be used.
    """

    def __init__(self, remotes: str, tls: Tls | None, lock: str | None, concerns: Callable[[str], bool]) -> None:
        if lock is not None and not (lock.isascii() and lock.isidentifier()):
            # ovsdb-server answers any other name with an error that python-ovs does not look at: never locked.
            raise ValueError(f'lock "{lock}" is not a name that OVSDB takes ([A-Za-z_][A-Za-z0-9_]*)')
        self._remotes = parse(remotes, tls)
        if tls is not None:
            tls.install()
        framing.install()
        self.lock = lock
        self.link: Link | None = None
        self.wire = Wire()
        self._concerns = concerns
        self._on_event: Callable[[], None] = lambda: None
        self._lock_wanted = True
        self._stealing = False
        self._told: tuple[object, ...] = ()
        self._trouble = f'the northbound "{remotes}" is not connected yet'
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="northbound", daemon=True)

    def start(self, on_event: Callable[[], None]) -> None:
        """Begins to connect, and returns at once."""
        self._on_event = on_event
        self._thread.start()

    def stop(self) -> None:
        """Closes the connection, which gives the lock away."""
        self._stopping.set()
        if (link := self.link) is not None:
            link.end()
        if self._thread.is_alive():
            # It may be waiting for a server that does not answer, and has nothing to give back then.
            self._thread.join(STOP_S_MAX)

    def want_lock(self, wanted: bool) -> None:
        """Ask for the lock, as from the start, or give it away and let others have it."""
        self._lock_wanted = wanted
        if (link := self.link) is not None:
            link.commit([])  # makes the connection's thread look

    def steal_lock(self) -> None:
        """Take the lock from whoever holds it, who cannot write any more from then on."""
        self._stealing = True
        if (link := self.link) is not None:
            link.commit([])

    @property
    def contended(self) -> bool:
        """Whether the lock is asked for and another's."""
        return (link := self.link) is not None and link.idl.connected and bool(link.idl.is_lock_contended)

    @property
    def connected(self) -> bool:
        """Whether the server answers, its schema will do and, on a cluster, it is the leader."""
        return (link := self.link) is not None and link.idl.connected

    @property
    def has_lock(self) -> bool:
        """Whether we may write: connected, and the lock (if any was asked for) is ours."""
        link = self.link
        return link is not None and link.idl.connected and (self.lock is None or bool(link.idl.has_lock))

    @property
    def trouble(self) -> str:
        """Why nothing can be written, and what now: not connected, or the lock is asked for and another's; else ""."""
        link = self.link
        if link is not None and link.idl.refusal:
            return self._read_only(link.idl.refusal)
        if link is None or not link.idl.connected:
            return self._trouble
        return self._others_lock() if self.contended else ""

    def usable(self) -> Link:
        """The connection, to write on; raises CommitError where there is none or the lock is another's."""
        link = self.link
        if link is None or not link.idl.connected:
            raise CommitError(self.trouble)
        if not self.has_lock:
            raise CommitError(self._others_lock())
        return link

    def _read_only(self, why: str) -> str:
        return (
            f'the northbound "{",".join(self._remotes)}" takes no writes: {why.rstrip(".")}; is its server a backup? '
            "It is used as soon as it takes them"
        )

    def _others_lock(self) -> str:
        return (
            f'the northbound\'s lock "{self.lock}" is held by another process; nothing is written until that one ends: '
            "is a controller of another lease or cluster at work on this database?"
        )

    def _run(self) -> None:
        try:
            self._keep_up()
        except BaseException as error:
            self._trouble = f"the northbound's connection failed for good: {error!r}; start the controller anew"
            self.link = None
            self._tell()
            raise

    def _keep_up(self) -> None:
        began = time.monotonic()
        while not self._stopping.is_set():
            try:
                schema = fetch_schema(self._remotes, DATABASE, SCHEMA_S_MAX)
                present = check.check(schema, DATABASE, TABLES)
            except (CommitError, check.SchemaError) as error:
                self._trouble = str(error)
                self._tell()
                self._stopping.wait(patience.pause_s(time.monotonic() - began))
                continue
            self.wire = Wire(present)
            idl = Replica(",".join(self._remotes), schema, present, self._concerns, self._woken)
            if self.lock is not None and self._lock_wanted:
                idl.set_lock(self.lock)
            self.link = Link(idl, REPLY_S_MAX)
            if not self._stopping.is_set():
                self.link.serve()
            self.link, began = None, time.monotonic()

    def _woken(self) -> None:
        """After messages were processed, in the connection's thread."""
        link = self.link
        if link is not None and self.connected:
            self._trouble = f'the connection to the northbound "{",".join(self._remotes)}" was lost; connecting again'
        if link is not None and link.idl.outdated:
            link.end()
        elif link is not None:
            self._settle_lock(link)
        self._tell()

    def _settle_lock(self, link: Link) -> None:
        """Ask for the lock or give it away; with a transaction on its way python-ovs takes no other lock."""
        name = self.lock if self._lock_wanted else None
        if link.idl.txn or link.idl._outstanding_txns:  # noqa: SLF001  theirs
            return
        if link.idl.lock_name != name:
            link.idl.set_lock(name)
        elif self._stealing:
            self._stealing = False
            if self.contended:
                link.idl.steal_lock()

    def _tell(self) -> None:
        link = self.link
        drifted = link is not None and link.idl.drifted
        state = (self.connected, self.has_lock, link and link.idl.generation, self.trouble)
        if (*state, drifted) != self._told:
            # That drift was taken is no news.
            news = state != self._told[:-1] or drifted
            self._told = (*state, drifted)
            if news:
                self._on_event()
