"""Where the server is: it stands in the URL, or Sentinel or the nodes of a cluster tell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from redis.connection import AbstractConnection
from redis.exceptions import MovedError, RedisError

from django_jobqueue import clock
from django_jobqueue.exceptions import (
    AccessDenied,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    WrongServer,
)
from django_jobqueue.store.errors import translate

Address = tuple[str, int]

#: Seconds for which what was told is believed: many connections that are made at once cost one
#: question, and one that is made after an hour of silence does not go to a server that has gone.
FRESH = 1.0

#: Seconds between two glances at a Sentinel that did not answer, while its master does.
UNANSWERED = 10.0

#: What a Sentinel says of a master that nobody should go to.
_DOUBTS = frozenset({"s_down", "o_down"})


class Addresses(Protocol):
    """Tells every new connection where it leads. Printed, it says so to people."""

    def where(self) -> Mapping[str, Any]:
        """
        Return the options of a connection that say where the server is now.

        Raises: StoreUnavailable (and AccessDenied, WrongServer) when nobody can tell.
        """

    def has_changed(self) -> bool:
        """Return whether connections that are open and well lead to the wrong server by now."""

    def forget(self) -> None:
        """Doubt what was told: the server there could not serve us."""

    def follow(self, moved: MovedError, asked: str) -> bool:
        """Go where the host ``asked`` says that our keys are; False when that is no choice."""


class FixedAddress:
    """The one server that stands in the URL. Its name is resolved with each connection."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __str__(self) -> str:
        return self._address

    def where(self) -> Mapping[str, Any]:
        """Add nothing: the options of the connection say it already."""
        return {}

    def has_changed(self) -> bool:
        """Return False: there is no other."""
        return False

    def forget(self) -> None:
        """Go on: there is no other."""

    def follow(self, moved: MovedError, asked: str) -> bool:
        """Stay: whoever names one server wants no other."""
        return False


class ToldAddress(ABC):
    """
    A server that others know: they are asked one after the other until one tells.

    Who cannot tell, and who told of a server that then did not serve, is asked last
    the next time: one that is cut off from the others may be wrong for long.
    ``connect`` makes a connection to a node that is to be asked.
    """

    #: The command that asks.
    question: tuple[str, ...]

    def __init__(
        self, nodes: Sequence[Address], connect: Callable[[Address], AbstractConnection]
    ) -> None:
        self._nodes = list(nodes)
        self._connect = connect
        #: The last answer, and when it came.
        self._told: tuple[Address, float] | None = None

    @property
    @abstractmethod
    def sought(self) -> str:
        """What is looked for, with its article."""

    @abstractmethod
    def read(self, reply: Any, asked: Address) -> Address:
        """Return the address that a reply names. Raises: StoreUnavailable when it names none."""

    def __str__(self) -> str:
        told = self._told
        if told is None:
            return f"{self.sought} of {', '.join(map(shown, self._nodes))}"
        return f"{shown(told[0])}, {self.sought}"

    def where(self) -> Mapping[str, Any]:
        """Return host and port, and ask for them when the last answer is not fresh."""
        told = self._told
        if told is None or clock.monotonic() - told[1] > FRESH:
            told = self._told = (self._look_up(), clock.monotonic())
        host, port = told[0]
        return {"host": host, "port": port}

    def forget(self) -> None:
        """Ask anew, and somebody else first."""
        if self._told is not None:
            self._told = None
            self.turn()

    def turn(self) -> None:
        """Ask the one last who would be first."""
        self._nodes = self._nodes[1:] + self._nodes[:1]

    def ask(self, node: Address) -> Address:
        """Return the address that one node names. Raises: RedisError, OSError, StoreUnavailable."""
        connection = self._connect(node)
        try:
            connection.send_command(*self.question)
            return self.read(connection.read_response(), node)
        finally:
            connection.disconnect()

    def _look_up(self) -> Address:
        faults: list[StoreError] = []
        failed: list[Address] = []
        for node in self._nodes:
            try:
                found = self.ask(node)
            except (RedisError, OSError) as error:
                faults.append(translate(error, shown(node)))
                failed.append(node)
                continue
            self._nodes = [*(each for each in self._nodes if each not in failed), *failed]
            return found
        raise _together(f"nobody names {self.sought}", faults)


class SentinelAddress(ToldAddress):
    """The master of a name, which the Sentinels watch and replace when it is down."""

    def __init__(
        self,
        nodes: Sequence[Address],
        connect: Callable[[Address], AbstractConnection],
        master: str,
    ) -> None:
        super().__init__(nodes, connect)
        self._master = master
        # Not GET-MASTER-ADDR-BY-NAME: that names one which is known to be down as well.
        self.question = ("SENTINEL", "MASTER", master)
        self._glance_at = 0.0

    @property
    def sought(self) -> str:
        """What is looked for, with its article."""
        return f"the master {self._master!r}"

    def read(self, reply: Any, asked: Address) -> Address:
        """Return the address in the state of the master, a flat list of names and values."""
        words = [word.decode() for word in reply]
        state = dict(zip(words[::2], words[1::2], strict=True))
        if _DOUBTS.intersection(state.get("flags", "").split(",")):
            raise StoreUnavailable(f"{shown(asked)} says that it is down")
        return state["ip"], int(state["port"])

    def has_changed(self) -> bool:
        """
        Ask one Sentinel every second.

        A master that is replaced in good health goes on to take writes, until the
        Sentinels make it a replica some ten seconds later: and then they are gone.
        """
        told, now = self._told, clock.monotonic()
        if told is None or now < self._glance_at:
            return False
        self._glance_at = now + FRESH  # first of all: the other threads do not wait for us
        try:
            found = self.ask(self._nodes[0])
        except (RedisError, OSError):
            # No reason to leave a master that answers.
            self._glance_at = clock.monotonic() + UNANSWERED
            self.turn()
            return False
        self._told = (found, clock.monotonic())
        return found != told[0]

    def follow(self, moved: MovedError, asked: str) -> bool:
        """Stay: what a Sentinel looks after is no cluster."""
        return False


class ClusterAddress(ToldAddress):
    """The node that serves one slot of a cluster."""

    question = ("CLUSTER", "SLOTS")

    def __init__(
        self,
        nodes: Sequence[Address],
        connect: Callable[[Address], AbstractConnection],
        slot: int,
    ) -> None:
        super().__init__(nodes, connect)
        self._named = list(nodes)
        self._slot = slot

    @property
    def sought(self) -> str:
        """What is looked for, with its article."""
        return f"the node with slot {self._slot}"

    def read(self, reply: Any, asked: Address) -> Address:
        """Return the owner of the slot out of all ranges of slots, and remember the nodes."""
        owner: Address | None = None
        seen: list[Address] = []
        for first, last, *nodes in reply:
            addresses = [_address(node, asked[0]) for node in nodes]
            seen += addresses
            if first <= self._slot <= last:
                owner = addresses[0]  # the others are its replicas
        # The nodes of the URL may all be replaced while we run. Those of earlier answers are
        # forgotten: where pods come and go, more and more of the dead would be asked in an outage.
        known = {*self._named, *seen}
        order = dict.fromkeys([asked, *self._nodes, *self._named, *seen])
        self._nodes = [node for node in order if node == asked or node in known]
        if owner is None:
            raise StoreUnavailable(f"{shown(asked)} says that nobody serves it")
        return owner

    def has_changed(self) -> bool:
        """Return False: a node that has lost the slot says so itself."""
        return False

    def follow(self, moved: MovedError, asked: str) -> bool:
        """Go where the answer says; it is newer than what other nodes may know."""
        host = moved.host or asked
        if host:
            self._told = ((host, moved.port), clock.monotonic())
        else:
            self.forget()
        return True


def shown(address: Address) -> str:
    """Return host and port as people write them."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(node: Sequence[Any], asked: str) -> Address:
    """Return the address of a node; one that does not know its own is where it was asked."""
    host = b"" if node[0] is None else bytes(node[0])
    return (asked if host in (b"", b"?") else host.decode(), int(node[1]))


def _together(what: str, faults: Sequence[StoreError]) -> StoreUnavailable:
    """Return one error for those of all nodes: to be cured by waiting, unless none of them is."""
    text = f"{what}: {'; '.join(map(str, faults))}"
    if all(isinstance(fault, (WrongServer, StoreRefused)) for fault in faults):
        return WrongServer(text)
    if any(isinstance(fault, AccessDenied) for fault in faults):
        return AccessDenied(text)
    return StoreUnavailable(text)
