"""Who is who, without a store: whom calls name, who becomes known, who becomes one, and who never does."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.core.incoming import Incoming
from engine.core.policy import Identity
from engine.intake.joining import Decided, Join, Known, decide, naming
from engine.store.identities import Identifier

STRICT = Identity()
LAX = Identity(merge=("alias", "email", "phone"))


@dataclass
class People:
    """Identifiers with the customers whom they lead to, as the store keeps them."""

    identity: Identity
    leads: dict[Identifier, int] = field(default_factory=dict)
    erased: set[int] = field(default_factory=set)
    made: int = 0
    joins: list[Join] = field(default_factory=list)

    def take(self, *batch: Incoming) -> Decided:
        """One batch; what was decided of it in the end."""
        items = [naming(self.identity, i, sound=True) for i in batch]
        decided = decide(self.identity, items, self.found(), {})
        before = self.made
        while decided.strangers:
            for pairs in decided.strangers:
                self.made += 1
                self.leads |= dict.fromkeys(pairs, self.made)
            decided = decide(self.identity, items, self.found(), {}, made=frozenset(range(before + 1, self.made + 1)))
        for kind, value, customer in decided.links:
            assert (kind, value) not in self.leads
            self.leads[(kind, value)] = customer
        for join in decided.joins:
            self.leads = {p: join.kept if c == join.gone else c for p, c in self.leads.items()}
        self.joins += decided.joins
        return decided

    def found(self) -> dict[Identifier, Known]:
        known = {c for (kind, _), c in self.leads.items() if kind == "user_id"}
        return {p: Known(c, c in known, c in self.erased) for p, c in self.leads.items()}

    def groups(self) -> set[frozenset[Identifier]]:
        """Who is one, by identifiers."""
        return {frozenset(p for p, c in self.leads.items() if c == one) for one in self.leads.values()}

    def together(self, *values: str) -> bool:
        """Whether these values lead to one customer."""
        return len({c for (_, value), c in self.leads.items() if value in values}) == 1


def call(kind: str, user: str = "", anonymous: str = "", email: str = "", previous: str = "", phone: str = "") -> Incoming:
    """A call as a source sends it."""
    names = {"user_id": user, "anonymous_id": anonymous, "previous_id": previous}
    traits = {k: v for k, v in {"email": email, "phone": phone}.items() if v}
    given_ = {k: v for k, v in names.items() if v}
    return Incoming(kind, "test", "m", traits=traits if kind == "identify" else {}, identifiers=given_)  # type: ignore[arg-type]


USERS, VISITORS, MAILS = ("u1", "u2", "u3"), ("x1", "x2", "x3"), ("a@example.com", "b@example.com")
calls = st.one_of(
    st.builds(call, st.just("track"), user=st.sampled_from(USERS), anonymous=st.sampled_from(("", *VISITORS))),
    st.builds(call, st.just("track"), anonymous=st.sampled_from(VISITORS)),
    st.builds(
        call,
        st.just("identify"),
        user=st.sampled_from(USERS),
        anonymous=st.sampled_from(("", *VISITORS)),
        email=st.sampled_from(("", *MAILS)),
    ),
    st.builds(call, st.just("identify"), anonymous=st.sampled_from(VISITORS), email=st.sampled_from(("", *MAILS))),
    st.builds(call, st.just("alias"), user=st.sampled_from(USERS), previous=st.sampled_from((*USERS, *VISITORS))),
)


@settings(max_examples=300)
@given(st.lists(st.lists(calls, min_size=1, max_size=4), max_size=6))
def test_two_known_customers_never_become_one_by_themselves(batches: list[list[Incoming]]) -> None:
    """Where no rule says so, no customer has two user ids, whatever comes in whatever batches."""
    people = People(STRICT)
    for batch in batches:
        people.take(*batch)
    assert all(sum(kind == "user_id" for kind, _ in group) <= 1 for group in people.groups())


@settings(max_examples=300)
@example(STRICT, [call("alias", user="u2", previous="u1"), call("track", user="u1")], [])
@given(st.sampled_from([STRICT, LAX]), st.lists(calls, max_size=8), st.lists(st.integers(1, 8), max_size=4))
def test_batches_make_no_difference(identity: Identity, calls_: list[Incoming], cuts: list[int]) -> None:
    """One call at a time or many at once: the same people are one, and the same calls are refused."""
    single, many = People(identity), People(identity)
    refused = [bool(single.take(c).refused) for c in calls_]
    batched: list[bool] = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(calls_)], strict=True):
        decided = many.take(*calls_[start:end])
        batched += [n in dict(decided.refused) for n in range(len(calls_[start:end]))]
    assert single.groups() == many.groups()
    assert refused == batched


@settings(max_examples=200)
@given(st.lists(calls, max_size=8))
def test_each_call_is_about_whom_its_user_id_leads_to(calls_: list[Incoming]) -> None:
    """After any batch the owner of each call that was taken is the customer to whom its identifiers lead then."""
    people = People(LAX)
    decided = people.take(*calls_)
    for n, one in enumerate(calls_):
        if n not in dict(decided.refused):
            kind = "user_id" if "user_id" in one.identifiers else "anonymous_id"
            assert people.leads[(kind, one.identifiers[kind])] == decided.owners[n]


def test_an_anonymous_visitor_becomes_known() -> None:
    """By an identify that names both, whether the user id is new or somebody's."""
    people = People(STRICT)
    people.take(call("track", anonymous="x1"))
    people.take(call("track", anonymous="x2"))
    people.take(call("identify", user="u1", anonymous="x1"))
    assert (people.together("u1", "x1"), people.joins) == (True, [])
    people.take(call("identify", user="u1", anonymous="x2"))
    assert (people.together("u1", "x1", "x2"), people.joins) == (True, [Join(2, 1, "identify")])


def test_a_track_call_merges_nobody() -> None:
    """It names a person; only identify and alias say that two are one."""
    people = People(STRICT)
    people.take(call("track", anonymous="x1"), call("track", user="u1"))
    people.take(call("track", user="u1", anonymous="x1"))
    assert not people.together("u1", "x1")


def test_a_shared_device_makes_nobody_another() -> None:
    """A second user on one browser is a second customer; the visitor's id stays with the first."""
    people = People(STRICT)
    people.take(call("identify", user="u1", anonymous="x1"), call("identify", user="u2", anonymous="x1"))
    assert (people.together("u1", "x1"), people.together("u2", "x1")) == (True, False)


def test_alias_joins_what_came_before() -> None:
    """A visitor with a user; an id that nobody had yet leads to the user from now on."""
    people = People(STRICT)
    people.take(call("track", anonymous="x1"), call("track", user="u1"))
    people.take(call("alias", user="u1", previous="x1"))
    assert people.together("u1", "x1")
    people.take(call("alias", user="u1", previous="x9"))
    assert people.leads[("anonymous_id", "x9")] == people.leads[("user_id", "u1")]
    assert ("user_id", "x9") not in people.leads


def test_alias_of_two_known_customers_needs_the_rule() -> None:
    """Without it the call is refused, with what to do instead; with it the older one stays."""
    strict, lax = People(STRICT), People(LAX)
    for people in (strict, lax):
        people.take(call("track", user="u1"), call("track", user="u2"))
    ((_, why),) = strict.take(call("alias", user="u1", previous="u2")).refused
    assert ("`sojourn merge`" in why, strict.together("u1", "u2")) == (True, False)
    assert () == lax.take(call("alias", user="u2", previous="u1")).refused
    assert [Join(2, 1, "alias")] == lax.joins


def test_a_new_user_id_for_a_known_customer_needs_the_rule_too() -> None:
    """Alias could otherwise give anybody's profile to a made-up id."""
    strict, lax = People(STRICT), People(LAX)
    for people in (strict, lax):
        people.take(call("track", user="u1"))
        people.take(call("alias", user="u9", previous="u1"))
    assert (("user_id", "u9") in strict.leads, lax.together("u1", "u9")) == (False, True)


def test_a_shared_address_merges_known_customers_only_by_rule() -> None:
    """Without the rule the address leads to who had it first, and the other one keeps it as an attribute."""
    for identity, one in ((STRICT, False), (LAX, True)):
        people = People(identity)
        people.take(call("identify", user="u1", email="Ada@example.com"))
        people.take(call("identify", user="u2", email="ada@EXAMPLE.com"))
        assert one == people.together("u1", "u2")
        assert people.leads[("email", "ada@example.com")] == people.leads[("user_id", "u1")]


def test_a_visitor_who_types_an_address_is_not_its_owner() -> None:
    """Anybody can type it: only a rule lets it lead to a known customer."""
    for identity, one in ((STRICT, False), (LAX, True)):
        people = People(identity)
        people.take(call("identify", user="u1", email="ada@example.com"))
        people.take(call("identify", anonymous="x1", email="ada@example.com"))
        assert one == people.together("u1", "x1")


def test_somebody_of_whom_only_an_address_is_known_becomes_known() -> None:
    """A lead that came in by an address alone is the user who says it is theirs."""
    people = People(STRICT)
    people.take(Incoming("track", "test", "m", "asked", identifiers={"email": "Ada@Example.com"}))
    people.take(call("identify", user="u1", email="ada@example.com"))
    assert (people.made, people.together("u1", "ada@example.com")) == (1, True)


def test_who_was_erased_is_joined_with_nobody() -> None:
    """Neither by identify nor by alias; a user who comes with an erased visitor's id is somebody new."""
    people = People(LAX)
    people.take(call("track", anonymous="x1"), call("track", user="u1"))
    people.erased.add(people.leads[("anonymous_id", "x1")])
    people.take(call("identify", user="u1", anonymous="x1"), call("identify", user="u2", anonymous="x1"))
    ((_, why),) = people.take(call("alias", user="u1", previous="x1")).refused
    assert ("erased" in why, people.joins) == (True, [])
    assert not people.together("u2", "x1")


def test_who_was_taken_apart_stays_apart() -> None:
    """An operator's word is above a rule's, until an operator says otherwise."""
    people = People(LAX)
    people.take(call("identify", user="u1", email="ada@example.com"), call("track", user="u2"))
    items = [naming(LAX, call("identify", user="u2", email="ada@example.com"), sound=True)]
    apart = frozenset({frozenset((1, 2))})
    assert () == decide(LAX, items, people.found(), {}, apart).joins
    items = [naming(LAX, call("alias", user="u2", previous="u1"), sound=True)]
    ((_, why),) = decide(LAX, items, people.found(), {}, apart).refused
    assert "taken apart" in why


def test_what_names_nobody_is_refused() -> None:
    """Nothing to go by, an alias without one of its two ids, an address that is none."""
    people = People(STRICT)
    for wrong in (
        Incoming("track", "test", "m", "asked"),
        Incoming("track", "test", "m", "asked", identifiers={"email": "ada"}),
        call("alias", user="u1"),
        call("alias", previous="x1"),
    ):
        assert 1 == len(people.take(wrong).refused)
    assert {} == people.leads
