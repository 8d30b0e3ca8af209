"""Commands about users: `user add`."""

import json
from typing import Annotated

import typer

from tallyframe.cli.context import DataDir, run_async, settings_for
from tallyframe.settings import SettingsError

_MAX_EMAIL = 320  # characters, RFC 3696

app = typer.Typer(no_args_is_help=True, help="Users.")


@app.command()
def add(
    email: Annotated[str, typer.Argument(help="The user's e-mail address.")],
    *,
    admin: Annotated[bool, typer.Option("--admin", help="May see and change everything.")] = False,
    member: Annotated[bool, typer.Option("--member", help="Opens members-only prompts.")] = False,
    credits_given: Annotated[
        int | None, typer.Option("--credits", min=0, max=1_000_000_000, help="How many to grant.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make or update a user, grant credits (a new user's default: the sign-up credits), print a new API key as JSON."""
    from tallyframe.commands.users import add_user, database

    if "@" not in email or len(email) > _MAX_EMAIL or any(not character.isprintable() for character in email):
        raise SettingsError(f"{email!r} is not an e-mail address.")
    settings = settings_for(data_dir, "database_url")

    async def make() -> dict[str, str | None]:
        async with database(settings.server.database_url.get_secret_value()) as db:
            user, secret = await add_user(
                db,
                email,
                admin=admin,
                member=member,
                credits_given=credits_given,
                signup_credits=settings.money.signup_credits,
            )
        return {"user_id": str(user.id), "email": user.email, "api_key": secret}

    print(json.dumps(run_async(make())))
