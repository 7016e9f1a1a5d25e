"""Steps to numbered operations. Blocks follow one another; a block that isn't the last of its step ends in a jump behind it.

What a step refers to is checked here too, because the names that it may use (`event`, `vars`) depend on the steps before it.
Acts (set, task, call, emit, start) are in `compile_acts`, waits in `compile_waits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from engine.authoring import shape_steps as shape
from engine.authoring.compile_acts import act
from engine.authoring.compile_waits import wait, wait_for, wait_for_delivery
from engine.authoring.model_tracking import EventType
from engine.authoring.scopes import LAST_SEND, Fields, Names, either
from engine.authoring.spots import Spot
from engine.authoring.template_checks import check_template
from engine.authoring.types import ANY
from engine.authoring.variables import every_step
from engine.authoring.world import World
from engine.core.plan import Arm, Branch, Exit, Jump, Loop, Moment, Op, Send, Split, SplitArm, Wait, Window
from engine.core.policy import Tier

MAX_ROUNDS = 100
"""Of a `repeat` that says only `until`."""


class Correlate(Protocol):
    """Says whether an event must carry the entry's key."""

    def of(self, spot: Spot, event: EventType | None, match: str | None) -> bool: ...


class Steps:
    """Builds one journey's operations. `names` are those of the journey as a whole, and change on the way: what a wait has taken,
    which of the variables are set by then. `base` and `tags`: the journey's, for its messages."""

    def __init__(self, world: World, correlate: Correlate, base: Tier | None, names: Names, tags: tuple[str, ...] = ()) -> None:
        self.world, self.correlate, self.base, self.tags = world, correlate, base, tags
        self.variables = names.vars or {}
        self.names = replace(names, event=None, vars={"last_send": LAST_SEND})
        self.ops: list[Op] = []
        self.ids: dict[str, Spot] = {}
        self.given: set[str] = set()

    def compile(self, steps: shape.Steps, spot: Spot) -> tuple[Op, ...]:
        """All operations of a journey."""
        self.given = {step.id for step in every_step(steps) if step.id}
        self.block(steps, spot)
        return tuple(self.ops)

    def block(self, steps: shape.Steps, spot: Spot) -> None:
        """Appends the operations of a list of steps."""
        for i, step in enumerate(steps):
            self.step(step, spot / i)
            if isinstance(step, shape.Exit) and not step.if_ and i + 1 < len(steps):
                (spot / (i + 1)).report("SJ415", "nobody gets here: the step above leaves the journey", level="warning")
                return

    def step(self, step: shape.Step, spot: Spot) -> None:
        """Appends the operations of one step."""
        (spot / "if").expression(step.if_, self.names)
        match step:
            case shape.Wait():
                wait(self, step, spot)
            case shape.WaitFor():
                wait_for(self, step, spot)
            case shape.Send():
                self.send(step, spot)
            case shape.Branch():
                self.branch(step, spot)
            case shape.Split():
                self.split(step, spot)
            case shape.Repeat():
                self.repeat(step, spot)
            case shape.Exit():
                self.ops.append(Exit(self.id(step, spot, step.exit), step.exit, step.if_))
            case _:
                self.ops.append(act(self, step, spot))

    def id(self, step: shape.Step, spot: Spot, about: str = "", waits: bool = False) -> str:
        """The step's id: as written, else `verb.about`, with a number where that is taken. `waits`: people stay in it."""
        if step.id:
            if step.id in self.ids:
                hint = f"the other one is at {self.ids[step.id].place}"
                (spot / "id").report("SJ410", f"two steps have the id {step.id!r}", hint)
            self.ids[step.id] = spot
            return step.id
        about = "".join(c if c.isalnum() or c in "_-." else "_" for c in about)[:60]
        base = f"{step.verb}.{about}" if about else step.verb
        found, n = base, 1
        while found in self.ids or found in self.given:
            n += 1
            found = f"{base}.{n}"
        self.ids[found] = spot
        if waits:
            hint = f"add id: (it is called {found!r} until then, which an edit elsewhere may change)"
            (spot / step.verb).report("SJ419", "people wait in this step, and it has no id", hint, level="warning", key=True)
        return found

    def set_variable(self, name: str) -> None:
        """From here on there is `vars.name`."""
        self.names = replace(self.names, vars={**(self.names.vars or {}), name: self.variables.get(name, ANY)})

    def arms(self, blocks: Sequence[tuple[shape.Steps | None, Spot, Fields | None]]) -> tuple[list[int], int]:
        """Appends blocks of which one is taken, each with the event that is being looked at in it. Where each begins, and the
        number behind them all; from there on `event` is any of those that the blocks ended with."""
        targets: list[int] = []
        jumps: list[int] = []
        events: list[Fields | None] = []
        for steps, spot, event in blocks:
            self.names = self.names.looking_at(event)
            targets.append(len(self.ops) if steps else -1)
            if steps:
                self.block(steps, spot)
                jumps.append(len(self.ops))
                self.ops.append(Jump(-1))
            events.append(self.names.event)
        if jumps and jumps[-1] == len(self.ops) - 1:
            self.ops.pop()
            jumps.pop()
        end = len(self.ops)
        for at in jumps:
            self.ops[at] = Jump(end)
        self.names = self.names.looking_at(either(events))
        return [end if t < 0 else t for t in targets], end

    def send(self, step: shape.Send, spot: Spot) -> None:
        for later in ("variants", "winner"):
            if getattr(step, later) is not None:
                (spot / later).report("SJ290", f"{later!r} is not yet available", "use split: for now", key=True)
        tier = self.world.tier(spot / "tier", step.tier) if step.tier else self.base
        if step.tier and tier:
            self.world.claim(spot / "tier", tier, self.base, step.template)
        elif tier and tier.only:
            self.world.claim(spot / "template", tier, None, step.template)
        if step.topic:
            self.world.topic(spot / "topic", step.topic)
        elif tier and "consent" not in tier.skip:
            hint = f"add topic: (policy.yaml has {', '.join(self.world.policy.topics) or 'none yet'})"
            (spot / "send").report("SJ417", f"a message of the tier {tier.name!r} needs a topic", hint, key=True)
        self.world.tags(spot / "tags", step.tags)
        (spot / "with").value(step.with_, self.names)
        self.templates(step, spot, tier)
        base = step.template.rsplit("/", 1)[-1]
        window = Window(step.window.from_, step.window.to, step.window.days) if step.window else None
        op = Send(
            step=self.id(step, spot, base),
            channels=(step.send, *step.fallback),
            template=step.template,
            tier=step.tier or (self.base.name if self.base else ""),
            topic=step.topic,
            condition=step.if_,
            values=step.with_ or None,
            on_defer=step.on_defer,
            expires=step.expires,
            window=window,
            tags=tuple(dict.fromkeys((*self.tags, *step.tags))),
            followed=step.tracking,
        )
        self.ops.append(op)
        if step.wait_for_delivery:
            self.ops += wait_for_delivery(op, step.wait_for_delivery, len(self.ops))

    def templates(self, step: shape.Send, spot: Spot, tier: Tier | None) -> None:
        """Checks the template of every channel that the message may take."""
        scope = self.names.scope().with_names(dict.fromkeys(step.with_, ANY))
        places = [(step.send, spot / "send"), *((c, spot / "fallback" / i) for i, c in enumerate(step.fallback))]
        for channel, place in places:
            if not self.world.channel(place, channel):
                continue
            self.world.sent.add((channel, step.template))
            found = self.world.template(spot / "template", channel, step.template)
            if found and tier:
                problems = check_template(found, scope, marketing="consent" not in tier.skip)
                spot.document.problems.extend(problems)

    def branch(self, step: shape.Branch, spot: Spot) -> None:
        at = len(self.ops)
        own = self.id(step, spot)
        self.ops.append(Jump(-1))
        event = self.names.event
        blocks: list[tuple[shape.Steps | None, Spot, Fields | None]] = []
        conditions: list[str] = []
        for i, arm in enumerate(step.branch):
            place = spot / "branch" / i
            last = i == len(step.branch) - 1
            if arm.else_ is not None and not (arm.if_ or arm.then) and last:
                blocks.append((arm.else_, place / "else", event))
            elif arm.if_ and arm.then is not None and arm.else_ is None:
                (place / "if").expression(arm.if_, self.names)
                conditions.append(arm.if_)
                blocks.append((arm.then, place / "then", event))
            else:
                hint = "write - if: … with then: …, and at the end one - else: …"
                place.report("SJ420", "an arm of a branch is if: with then:, the last may be else:", hint)
        if len(blocks) == len(conditions):
            blocks.append((None, spot, event))
        targets, end = self.arms(blocks)
        otherwise = targets[-1]
        found = tuple(Arm(c, t) for c, t in zip(conditions, targets, strict=False))
        self.ops[at] = Branch(own, found, otherwise, step.if_, end)

    def split(self, step: shape.Split, spot: Spot) -> None:
        at = len(self.ops)
        own = self.id(step, spot, step.split)
        self.ops.append(Jump(-1))
        names = [a.name for a in step.arms]
        for i, name in enumerate(names):
            if name in names[:i]:
                (spot / "arms" / i / "name").report("SJ411", f"two arms are called {name!r}")
        event = self.names.event
        blocks = [(a.then, spot / "arms" / i / "then", event) for i, a in enumerate(step.arms)]
        targets, end = self.arms([*blocks, (None, spot, event)] if step.holdout else blocks)
        arms = tuple(SplitArm(a.name, a.weight, t) for a, t in zip(step.arms, targets, strict=False))
        self.ops[at] = Split(own, step.split, arms, step.holdout, step.if_, end)

    def repeat(self, step: shape.Repeat, spot: Spot) -> None:
        inside, body = spot / "repeat", step.repeat
        if body.times is None and body.until is None:
            inside.report("SJ420", "a repeat needs times:, until:, or both", "it always ends: say when", key=True)
        own = self.id(step, spot, waits=body.every is not None)
        head = len(self.ops)
        self.ops.append(Jump(-1))
        before = self.names.event
        self.block(body.steps, inside / "steps")
        if body.every:
            self.ops.append(Wait(f"{own}.every", Moment(after=body.every), skip_to=len(self.ops) + 1))
        self.ops.append(Jump(head))
        self.names = self.names.looking_at(either([before, self.names.event]))
        (inside / "until").expression(body.until, self.names)
        self.ops[head] = Loop(own, body.times or MAX_ROUNDS, len(self.ops), body.until, step.if_)
