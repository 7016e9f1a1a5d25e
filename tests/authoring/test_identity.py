"""`identity` of policy.yaml: what it compiles to, and what is said of what can't be meant, at its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.authoring.project import Compiled
from engine.core.policy import Identity, Policy, policy_from_json, policy_to_json
from engine.settings.problems import Problem
from tests.authoring.conftest import POLICY


def test_identity_compiles_and_survives_json(compiled: Callable[..., Compiled]) -> None:
    """With what it says, and with its defaults where it says nothing: both addresses count, no rule merges known customers."""
    policy = compiled(policy=POLICY + "identity: {identifiers: [email], region: IT, merge: [alias, email]}\n").policy
    assert Identity(("email",), "IT", ("alias", "email")) == policy.identity
    assert policy == policy_from_json(policy_to_json(policy))
    assert Identity(("email", "phone"), "", ()) == compiled().policy.identity


def test_a_policy_from_before_has_the_defaults(compiled: Callable[..., Compiled]) -> None:
    """What was deployed without it is read as if it said nothing."""
    body = policy_to_json(compiled().policy)
    del body["identity"]
    read: Policy = policy_from_json(body)
    assert Identity() == read.identity


@pytest.mark.parametrize(
    ("identity", "code", "underlined"),
    [
        ("{merge: [mail]}", "SJ112", "mail"),
        ("{merge: [email, email]}", "SJ411", "email"),
        ("{identifiers: [email], merge: [phone]}", "SJ420", "phone"),
        ("{identifiers: [name]}", "SJ112", "name"),
        ("{identifiers: [phone, phone]}", "SJ411", "phone"),
        ("{region: Italy}", "SJ112", "Italy"),
        ("{region: it}", "SJ112", "it"),
        ("{regoin: IT}", "SJ110", "regoin"),
    ],
)
def test_what_cannot_be_meant_is_underlined(
    problems: Callable[..., list[Problem]], identity: str, code: str, underlined: str
) -> None:
    """One problem, with a code, at the value or key that is wrong."""
    (found,) = [p for p in problems(policy=POLICY + f"identity: {identity}\n") if p.level == "error"]
    assert (code, "journeys/policy.yaml") == (found.code, found.file)
    assert underlined == found.text[found.column - 1 : found.column - 1 + found.length]
