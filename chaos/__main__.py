"""Runs all phases: `python -m chaos [--seed 1] [--minutes 2] [--quick]`. Exit code 1 on a violation."""

import argparse
import asyncio
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

import asyncpg

import tallyframe
from chaos.batches import Batches
from chaos.calm import ask_when_calm
from chaos.checker import judge
from chaos.clients import Client, client
from chaos.evidence import User
from chaos.gathering import FILE, UNFINISHED, gather, with_endings
from chaos.history import History
from chaos.nemesis import Nemesis
from chaos.outsiders import MEMBER, outsiders
from chaos.plan import Plan, quick
from chaos.report import print_report
from chaos.requests import Requests
from chaos.stack import Stack, stack
from chaos.telling import Teller
from tallyframe.commands.users import add_user, database
from tallyframe.logs import configure_logs

_CREDITS = 1_000_000  # of each client but the first
_FEW_CREDITS = 150  # of the first client, so that some orders can't be paid
_POLL = 0.2  # seconds


async def run(plan: Plan, folder: Path, *, is_quick: bool) -> bool:
    """Run the plan, with all files in `folder`; print the verdict, and return whether all checks hold."""
    if task := asyncio.current_task():  # SIGTERM unwinds us as Ctrl-C does, so that nothing is left running
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    configure_logs("console", "warning", "chaos")
    print(f"Seed {plan.seed}, {plan.seconds:.0f} s of faults; everything is kept in {folder}")
    print(f"Tallyframe is that of {_code_under_test()}", flush=True)
    async with stack(plan, folder) as running:
        history = History(folder / "history.jsonl")
        users, member, admin_key = await _add_users(running)
        nemesis = Nemesis(running)
        async with outsiders(running, member):
            await _order_amid_faults(running, nemesis, history, users, admin_key)
        running.calm_the_vendor()
        began = monotonic()
        await ask_when_calm(running, history, users)
        await _wait_until_finished(running)
        quiet = monotonic() - began
        evidence = await gather(running, history.lines, [*users, member], is_quick=is_quick)
    evidence = with_endings(evidence, running)  # again, because all processes have ended now
    evidence.write(folder / FILE)
    verdicts = judge(evidence)
    print_report(evidence, nemesis.counts, verdicts, quiet)
    return all(verdict.is_ok for verdict in verdicts)


def _code_under_test() -> str:
    """Return the path of the code, and its commit if it is in a git repository."""
    folder = Path(tallyframe.__file__).parent
    git = ("git", "-C", str(folder), "describe", "--always", "--dirty")
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=False, timeout=10)
    except OSError:  # no git here
        return str(folder)
    return f"{folder}, commit {found.stdout.strip()}" if found.returncode == 0 else str(folder)


async def _add_users(running: Stack) -> tuple[list[User], User, str]:
    """Return the clients' users, the strangers' one, and an administrator's key."""
    users = []
    async with database(running.servers.database_url) as db:
        for number in (*range(running.plan.clients), MEMBER):
            given = _CREDITS if number else _FEW_CREDITS
            email = f"client{number}@example.com"
            user, key = await add_user(db, email, admin=False, member=False, credits_given=given, signup_credits=0)
            users.append(User(number, str(user.id), str(user.account_id), key, given))
        admin = await add_user(db, "root@example.com", admin=True, member=False, credits_given=0, signup_credits=0)
    *clients, member = users
    return clients, member, admin[1]


async def _order_amid_faults(
    running: Stack, nemesis: Nemesis, history: History, users: list[User], admin_key: str
) -> None:
    """Run clients and nemesis side by side. When this returns, all faults are over and all clients have ended."""
    stop, plan = asyncio.Event(), running.plan
    clients = [client(user.client, user.key, plan, running.apis, history, stop) for user in users]
    lot = random.Random(f"{plan.seed}:clerk")
    nobody, admin = (Requests(key, running.apis, history, lot, timeout=plan.client_timeout) for key in ("", admin_key))
    everybody: list[Client | Teller | Batches] = [
        *clients,
        Teller(nobody, admin, lot, plan, stop),
        Batches(users[-1], running.batches_url, history, plan, stop),
    ]
    at_work = [asyncio.create_task(one.run()) for one in everybody]
    try:
        await nemesis.rage()
        stop.set()
        await asyncio.gather(*at_work)
    finally:
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)
        for requests in (nobody, admin, *(one.requests for one in clients)):
            await requests.aclose()


async def _wait_until_finished(running: Stack) -> None:
    """Wait until all generations have ended and the outbox is empty, for the plan's `quiet` seconds at most."""
    began = monotonic()
    connection = await asyncpg.connect(running.servers.database_url)
    try:
        while await connection.fetchval(UNFINISHED):
            if monotonic() - began > running.plan.quiet:
                break
            await asyncio.sleep(_POLL)
    finally:
        await connection.close()


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description="Commits faults while clients order, then checks the books"
    )
    parser.add_argument("--seed", type=int, default=1, help="draws faults and what clients want (default 1)")
    parser.add_argument("--minutes", type=float, default=2, help="of faults (default 2)")
    parser.add_argument("--quick", action="store_true", help="half a minute in all, every kind of fault at least once")
    parser.add_argument("--keep", type=Path, help="keep all files in this folder, also when all checks hold")
    parser.add_argument(
        "--without-idempotency", action="store_true", help="for versions without keys: a repeated key may buy twice"
    )
    options = parser.parse_args()
    checks = not options.without_idempotency
    plan = Plan(seed=options.seed, seconds=options.minutes * 60, checks_idempotency=checks)
    plan = quick(options.seed, checks_idempotency=checks) if options.quick else plan
    folder = options.keep or Path(tempfile.mkdtemp(prefix=f"tallyframe-chaos-{options.seed}-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        holds = asyncio.run(run(plan, folder.resolve(), is_quick=options.quick))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(f"Interrupted; all processes have been ended. The files so far are in {folder}")
    if not holds:
        sys.exit(f"VIOLATED. All logs, the history and the evidence are in {folder}")
    if not options.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
