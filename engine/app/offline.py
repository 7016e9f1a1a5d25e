"""What projects are played with where nothing is connected to: where channels find people, and names in place of secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from engine.core.plan import Act, Plan
from engine.delivery.channel import USUAL_ADDRESS, ChannelError, load_channel
from engine.settings.project import Settings

SECRET = "SOJOURN_SECRET_"
"""What the environment variables of secrets begin with."""


def addresses_of(settings: Settings) -> dict[str, str]:
    """Channel → the attribute that holds an address for it: what sojourn.yaml says, else its adapter, else what is usual for a
    channel so called."""
    found = {}
    for name, channel in settings.channels.items():
        try:
            found[name] = load_channel(name, channel.config()).capabilities.address
        except ChannelError:  # where a secret has only a name in its place, an adapter can't judge its settings
            found[name] = channel.address if channel.address is not None else USUAL_ADDRESS.get(name, "")
    return found


@contextmanager
def stand_ins(plans: Iterable[Plan]) -> Iterator[None]:
    """While the block runs `secrets.NAME` is NAME: no play needs a real secret, and none can give one away."""
    texts = [str(op.fields) for plan in plans for op in plan.ops if isinstance(op, Act) and op.verb == "call"]
    names = {f"{SECRET}{name}": name for text in texts for name in re.findall(r"\bsecrets\.(\w+)", text)}
    before = {variable: os.environ.get(variable) for variable in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                del os.environ[variable]
            else:
                os.environ[variable] = value
