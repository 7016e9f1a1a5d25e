"""`token create|list|revoke`: tokens for the API beside those of sojourn.yaml. A secret is shown once; its digest is kept."""

from __future__ import annotations

import re
import secrets
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from engine.cli.deploying import actor
from engine.cli.located import locate
from engine.cli.shown import iso, listing, when
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, out, print_json, say, show_table

if TYPE_CHECKING:
    from engine.store.database import Connection

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
LISTED = "`sojourn token list` lists them"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: a person or a program; lower case.")]

token = typer.Typer(
    no_args_is_help=True,
    help="Tokens for the API, each with a role: create, list or revoke them.\n\nExample: [bold]sojourn token list[/]",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


@token.command()
def create(
    name: NameArgument,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="author, operator, analyst, privacy or source.")],
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it. It is shown this once: only a digest of it is kept.

    Exit code 1 where the name has been used. Example: [bold]sojourn token create dpo --role privacy[/]
    """
    from typing import get_args

    from engine.settings.project import Role
    from engine.store import audit, tokens

    roles = get_args(Role)
    if role not in roles:
        raise Failure(f"there is no role {role!r}", f"one of: {', '.join(roles)}")
    if not NAME.fullmatch(name):
        raise Failure(f"{name!r} can't be a token's name", "letters in lower case, digits, dots, dashes and underscores")
    located = locate(project, data, lenient=True)
    if name in located.settings.tokens:
        raise Failure(f"sojourn.yaml has a token {name!r}", "give this one another name: the audit log tells them apart by it")
    secret = f"sjt_{secrets.token_urlsafe(32)}"

    async def act(c: Connection) -> bool:
        made = await tokens.create(c, name, role, secret, actor())
        if made:
            await audit.note(c, actor(), "create token", [f"token/{name}"], {"role": role})
        return made

    if not located.in_transaction(act):
        raise Failure(f"the name {name!r} has been used", f"names are used once; {LISTED}", Code.NO)
    if as_json:
        print_json({"name": name, "role": role, "token": secret})
        return
    say(f"the token of {name} ({role}), shown this once:", style="dim")
    sys.stdout.write(f"{secret}\n")


@token.command("list")
def listed(project: ProjectOption = HERE, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the tokens that were made, and those of sojourn.yaml, with their roles. Never a secret.

    Example: [bold]sojourn token list[/]
    """
    from engine.store import tokens

    located = locate(project, data, lenient=True)
    found = [{"name": n, "role": t.role, "from": "sojourn.yaml", "revoked_at": None} for n, t in located.settings.tokens.items()]
    for r in located.in_transaction(tokens.listing):
        found.append({"name": r.name, "role": r.role, "from": r.created_by, "revoked_at": iso(r.revoked_at)})
    if as_json:
        print_json(found)
    elif not found:
        out.print("no tokens", style="dim")
    else:
        table = listing("name", "role", "made by", "revoked (UTC)")
        for one in found:
            table.add_row(*(Text(text or "") for text in (one["name"], one["role"], one["from"], when(one["revoked_at"]))))
        show_table(table)


@token.command()
def revoke(name: NameArgument, project: ProjectOption = HERE, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Let a token in no more, at once and for good.

    Exit code 1 where there is none of that name. Example: [bold]sojourn token revoke dpo[/]
    """
    from engine.store import audit, tokens

    located = locate(project, data, lenient=True)

    async def act(c: Connection) -> bool:
        done = await tokens.revoke(c, name, actor())
        if done:
            await audit.note(c, actor(), "revoke token", [f"token/{name}"], {})
        return done

    done = located.in_transaction(act)
    if name in located.settings.tokens:  # one of the same name may have been made before it stood there
        what = f"{name!r} stands in sojourn.yaml" + ("; the one that was made here is revoked" if done else "")
        raise Failure(what, "take it out there, and start the API again")
    if not done:
        raise Failure(f"no token called {name!r} lets anybody in", LISTED, Code.NO)
    if as_json:
        print_json({"revoked": name})
    else:
        out.print(f"revoked {name}", markup=False)
