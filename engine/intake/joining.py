"""Who each item of a batch is about, and which customers become one for it. Pure: `resolving` reads before and writes after.

An anonymous person becomes known, or is merged into a known one, by `identify` and `alias`. Two known customers (each has a user
id) become one only where policy's `identity.merge` says so. Whoever was erased is joined with nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.core.incoming import Incoming
from engine.core.policy import Identity
from engine.delivery.addresses import KINDS, identifiers_of, normal
from engine.store.identities import Identifier

USER, ANONYMOUS = "user_id", "anonymous_id"


@dataclass(frozen=True, slots=True)
class Named:
    """How one item names its person. `others`: identifiers that it gives beside the user id; `hints`: those that its traits are;
    `previous`: of an alias. `joins`: it may make one person of two. `history`: it says so of the past."""

    customer: int | None = None
    user: Identifier | None = None
    others: tuple[Identifier, ...] = ()
    hints: tuple[Identifier, ...] = ()
    previous: str = ""
    alias: bool = False
    joins: bool = False
    history: bool = False

    def pairs(self) -> list[Identifier]:
        """Every identifier that matters."""
        user = [self.user] if self.user is not None else []
        previous = [(ANONYMOUS, self.previous), (USER, self.previous)] if self.previous else []
        return [*user, *self.others, *self.hints, *previous]


@dataclass(frozen=True, slots=True)
class Known:
    """A customer whom an identifier leads to. `known`: has a user id."""

    customer: int
    known: bool
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Customer `gone` becomes part of `kept`. `cause`: identify, alias, email, phone or command. `history`: by a call of the
    past, which wakes nobody."""

    gone: int
    kept: int
    cause: str
    history: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """Whom each item is about (None: nobody is named, or somebody who must be stored first). `strangers`: new people, each with
    their identifiers. `links`: (kind, value, customer) to add. `joins` in order. `refused`: item → why it can't be taken."""

    owners: tuple[int | None, ...]
    strangers: tuple[tuple[Identifier, ...], ...] = ()
    links: tuple[tuple[str, str, int], ...] = ()
    joins: tuple[Join, ...] = ()
    refused: tuple[tuple[int, str], ...] = ()


def naming(identity: Identity, incoming: Incoming, *, sound: bool) -> Named:
    """What `incoming` says of who it is about. One that isn't `sound` (malformed, or a repeat) joins nobody and
    adds no address."""
    given = {k: str(v) for k, v in incoming.identifiers.items() if v not in (None, "")}
    others = [(ANONYMOUS, given[ANONYMOUS])] if ANONYMOUS in given else []
    written = [(k, normal(k, given[k], identity.region)) for k in KINDS if k in given]
    others += [(k, value) for k, value in written if value is not None]
    others += [(k, v) for k, v in given.items() if k not in (USER, ANONYMOUS, "previous_id", *KINDS)]
    return Named(
        customer=incoming.customer,
        user=(USER, given[USER]) if USER in given else None,
        others=tuple(others),
        hints=tuple(identifiers_of(identity, incoming.traits)) if sound and incoming.kind in ("identify", "set") else (),
        previous=given.get("previous_id", "") if sound and incoming.kind == "alias" else "",
        alias=sound and incoming.kind == "alias",
        joins=sound and incoming.kind in ("identify", "alias"),
        history=incoming.history,
    )


def decide(
    identity: Identity,
    items: Sequence[Named],
    found: Mapping[Identifier, Known],
    people: Mapping[int, Known],
    apart: frozenset[frozenset[int]] = frozenset(),
    made: frozenset[int] = frozenset(),
) -> Decided:
    """Item by item, in order. `found`: whom identifiers lead to. `people`: by our own id, who that is today. `apart`: pairs
    whom an operator has separated, and who stay so. `made`: customers who were stored for this very batch; no item knows them
    before the first one that names them."""
    work = _Work(identity, found, people, apart, made)
    nodes = [work.place(i, item) for i, item in enumerate(items)]
    new: dict[int, list[Identifier]] = {}
    links = []
    for pair, node in work.attached.items():
        node = node.top()
        if node.customer is None:
            new.setdefault(id(node), []).append(pair)
        elif pair not in found:
            links.append((*pair, node.customer))
    return Decided(
        owners=tuple(None if n is None else n.top().customer for n in nodes),
        strangers=tuple(tuple(pairs) for pairs in new.values()),
        links=tuple(sorted(links)),
        joins=tuple(work.joins),
        refused=tuple(sorted(work.refused.items())),
    )


@dataclass(eq=False, slots=True)
class _Node:
    """A person while a batch is looked at. `customer` None: not stored yet. `into`: whose part they have become."""

    customer: int | None
    known: bool = False
    erased: bool = False
    into: _Node | None = None

    def top(self) -> _Node:
        node = self
        while node.into is not None:
            node = node.into
        return node


@dataclass(slots=True)
class _Work:
    identity: Identity
    found: Mapping[Identifier, Known]
    people: Mapping[int, Known]
    apart: frozenset[frozenset[int]]
    made: frozenset[int]
    nodes: dict[int, _Node] = field(default_factory=dict)
    attached: dict[Identifier, _Node] = field(default_factory=dict)
    joins: list[Join] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    def place(self, number: int, item: Named) -> _Node | None:
        """The person of one item."""
        if item.customer is not None:
            there = self.people.get(item.customer)
            if there is None:
                return _Node(item.customer)
            node: _Node | None = self._node(there)
        elif item.alias:
            node = self._alias(number, item)
        else:
            node = self._named(item)
        if node is None:
            self.refused.setdefault(number, "nothing in it names a person")
        elif number not in self.refused:
            self._beside(node.top(), item)
        return node

    def _named(self, item: Named) -> _Node | None:
        if item.user is not None:
            return self._at(item.user) or self._becomes_known(item)
        lead = next((n for p in item.others if (n := self._at(p)) is not None), None)
        if lead is None and item.joins:
            hinted = (self._at(p) for p in item.hints)
            lead = next((n for n in hinted if n is not None and not n.known and not n.erased), None)
        if lead is not None or not item.others:
            return lead
        return _Node(None)

    def _becomes_known(self, item: Named) -> _Node:
        """A user id that leads to nobody yet: an anonymous person's who is named with it, else a new person's."""
        assert item.user is not None
        beside = [*item.others, *(item.hints if item.joins else ())]
        free = (n for p in beside if (n := self._at(p)) is not None and not n.known and not n.erased)
        node = next(free, None) or _Node(None)
        self._attach(item.user, node)
        node.known = True
        return node

    def _alias(self, number: int, item: Named) -> _Node | None:
        """`previous` is the same person as `user`."""
        if item.user is None or not item.previous:
            self.refused[number] = "alias: previousId and userId are both needed"
            return None if item.user is None else self._at(item.user)
        before = self._at((ANONYMOUS, item.previous)) or self._at((USER, item.previous))
        ruled = "alias" in self.identity.merge
        node = self._at(item.user)
        if before is not None and before is not node and (why := self._why_two(before, node, ruled)):
            self.refused[number] = why
            return node or before
        if node is None:
            node = before or _Node(None)
            self._attach(item.user, node)
            node.known = True
        if before is None:
            for kind in (ANONYMOUS, USER) if ruled else (ANONYMOUS,):
                if self._at((kind, item.previous)) is None:
                    self._attach((kind, item.previous), node)
        elif before is not node:
            self._join(before, node, "alias", history=item.history)
        return node.top()

    def _why_two(self, before: _Node, node: _Node | None, ruled: bool) -> str:
        """Why an alias can't make one of whom its ids lead to; "" if it can."""
        if before.erased or (node is not None and node.erased):
            return "alias: one of the two was erased, and nobody who was erased is brought back"
        if node is not None and self._parted(before, node):
            return "alias: these two were taken apart by `sojourn unmerge`; `sojourn merge` makes one of them again"
        if not ruled and before.known and (node is None or node.known):
            told = "alias: both ids are known customers', and `identity: merge:` in policy.yaml doesn't name alias"
            return f"{told}; `sojourn merge` makes one of them"
        return ""

    def _beside(self, node: _Node, item: Named) -> None:
        """What the item names beside its person: free identifiers become theirs; who else is meant may be the same person."""
        for pair in (*item.others, *item.hints):
            other = self._at(pair)
            node = node.top()
            if node.erased or other is node:
                continue
            if other is None:
                self._attach(pair, node)
            elif item.joins and not other.erased and self._one_person(node, other, pair, item):
                cause = pair[0] if node.known and other.known else "identify"
                self._join(other, node, cause, history=item.history)

    def _one_person(self, node: _Node, other: _Node, pair: Identifier, item: Named) -> bool:
        if other.known and (node.known or pair in item.hints):
            return pair[0] in self.identity.merge
        return True

    def _join(self, other: _Node, node: _Node, cause: str, *, history: bool) -> None:
        """The two become one. The known one stays; of two alike the older. Two known ones are both stored first, so that the
        merge can be undone."""
        if other.customer is None or node.customer is None or other.customer == node.customer:
            if not (other.known and node.known):
                kept, gone = (other, node) if node.customer is None and other.customer is not None else (node, other)
                gone.into, kept.known = kept, kept.known or gone.known
            return
        if self._parted(other, node):
            return
        gone, kept = sorted((other, node), key=lambda n: (n.known, -(n.customer or 0)))
        assert gone.customer is not None
        assert kept.customer is not None
        self.joins.append(Join(gone.customer, kept.customer, cause, history))
        gone.into = kept

    def _parted(self, one: _Node, other: _Node) -> bool:
        return one.customer is not None and frozenset((one.customer, other.customer)) in self.apart

    def _attach(self, pair: Identifier, node: _Node) -> None:
        """A free identifier becomes `node`'s, who may have been stored with it a moment ago."""
        self.attached[pair] = node
        if node.customer is None and pair in self.found:
            node.customer = self.found[pair].customer

    def _at(self, pair: Identifier) -> _Node | None:
        node = self.attached.get(pair)
        if node is None and pair in self.found and self.found[pair].customer not in self.made:
            node = self._node(self.found[pair])
        return None if node is None else node.top()

    def _node(self, known: Known) -> _Node:
        if known.customer not in self.nodes:
            self.nodes[known.customer] = _Node(known.customer, known.known, known.erased)
        return self.nodes[known.customer].top()
