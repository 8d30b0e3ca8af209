"""The command line, as operators use it."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import httpx

from tallyframe.commands.users import add_user
from tallyframe.db import Database
from tests.support.processes import Processes, free_port

README = (Path(__file__).parents[2] / "README.md").read_text()


async def test_user_add_makes_and_updates(processes: Processes, db: Database, owner: Any) -> None:
    first = processes.start("user", "add", "Ada@Example.com", "--credits", "7", "--member")
    assert await first.wait() == 0
    made = json.loads(first.text)
    assert set(made) == {"user_id", "email", "api_key"}
    assert made["email"] == "ada@example.com"
    again = processes.start("user", "add", "ada@example.com", "--credits", "3", "--admin")
    assert await again.wait() == 0
    assert json.loads(again.text)["user_id"] == made["user_id"]

    row = await owner.fetchrow("SELECT u.role, u.is_member, a.balance FROM users u JOIN accounts a ON a.user_id = u.id")
    assert dict(row) == {"role": "admin", "is_member": True, "balance": 10}


async def test_a_new_user_without_credits_given_gets_the_sign_up_credits(db: Database) -> None:
    user, _ = await add_user(db, "eve@example.com", admin=False, member=False, credits_given=None, signup_credits=20)
    again, _ = await add_user(db, "eve@example.com", admin=False, member=False, credits_given=None, signup_credits=20)
    assert user.id == again.id
    from tallyframe.ledger.history import figures

    async with db.reading() as reader:
        assert (await figures(reader, user.account_id)).available == 20


async def test_user_add_refuses_what_is_no_address(processes: Processes) -> None:
    process = processes.start("user", "add", "nobody")
    assert await process.wait() == 1
    assert process.text == "'nobody' is not an e-mail address.\n"


async def test_ledger_verify_names_who_does_not_add_up(processes: Processes, db: Database, owner: Any) -> None:
    user, _ = await add_user(db, "eve@example.com", admin=False, member=False, credits_given=20, signup_credits=0)
    await owner.execute("ALTER TABLE accounts DISABLE TRIGGER ALL")
    await owner.execute("UPDATE accounts SET balance = 21")
    process = processes.start("ledger", "verify")
    assert await process.wait() == 1
    assert f"account {user.account_id}: balance 21, entries sum to 20" in process.text
    assert "1 accounts do not add up." in process.text


async def test_openapi_prints_the_contract(processes: Processes) -> None:
    process = processes.start("openapi")
    assert await process.wait() == 0
    document = json.loads(process.text)
    assert document["openapi"].startswith("3.1")
    assert "/v1/projects/{project_id}/video" in document["paths"]


async def test_dev_serves_stops_and_finds_everything_again(tmp_path: Path) -> None:
    folder, port = tmp_path / "stack", free_port()
    command = [sys.executable, "-m", "tallyframe", "dev", "--port", str(port), "--data-dir", str(folder)]
    project_id = ""
    for start in (1, 2):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        said = b""
        while b"Ctrl-C" not in said:
            line = await asyncio.wait_for(process.stdout.readline(), 90)
            assert line, said
            said += line
        stack = json.loads((folder / "stack.json").read_text())
        assert set(stack) == {"url", "database_url", "redis_url", "admin_api_key", "api_key"}
        assert stack["api_key"] in said.decode()
        headers = {"Authorization": f"Bearer {stack['api_key']}"}
        async with httpx.AsyncClient(base_url=stack["url"], headers=headers) as client:
            if start == 1:
                order = {"kind": "image", "prompt": "a cup"}
                project_id = (await client.post("/v1/projects", json=order)).json()["id"]
            while (project := (await client.get(f"/v1/projects/{project_id}")).json())["is_generating"]:
                await asyncio.sleep(0.05)
            assert project["status"] == "draft"
            assert (await client.get(project["image_url"])).status_code == 200
            docs = await client.get("/docs")
            assert docs.status_code == 200
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 90) == 0
        assert not (folder / "stack.json").exists()


async def test_the_demo_shows_progress_files_and_the_ledger(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tallyframe", "demo", "--data-dir", str(tmp_path / "demo")]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 180)
    said = output.decode()
    assert process.returncode == 0, said
    for step in ("queued", "generating", "storing", "done"):
        assert said.count(f" s  {step}\n") == 2, said
    made_by = "made by offline, offline-1"
    for words in (f" 5 credits, {made_by}\n", f" 10 credits, {made_by}\n", "Available now: 5 credits."):
        assert words in said
    shown = README.split("<!-- demo -->\n```\n")[1].split("```")[0]
    assert "  .tallyframe/demo/output/image.png\n" in shown
    for line in (each for each in shown.splitlines() if each and "/demo/" not in each):
        pattern = re.sub(r"…\w{6}|\d+\.\d+|\d+", "#", line)  # times, sizes and ids differ
        assert re.search(re.escape(pattern).replace(r"\#", r"[…\w.]+"), said), line
    assert (tmp_path / "demo" / "output" / "image.png").read_bytes().startswith(b"\x89PNG")
    assert b"ftyp" in (tmp_path / "demo" / "output" / "video.mp4").read_bytes()[:12]
