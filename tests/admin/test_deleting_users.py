"""A user who asks to be forgotten is deleted by an administrator, for good; workers erase the rest."""

from uuid import uuid4

from tests.admin.conftest import WHY, Acts
from tests.support.cast import Member
from tests.support.remains import problem


async def test_a_user_is_deleted_once_and_can_do_nothing_any_more(acts: Acts, alice: Member, bob: Member) -> None:
    await alice.http.get("/v1/me")
    answer = await acts.do(f"users/{alice.user.id}/delete")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["email"], answer.json()["id"]) == (None, str(alice.user.id))
    assert answer.json()["deleted_at"]
    problem(await alice.http.get("/v1/me"), 401, "unauthenticated")
    [line] = await acts.lines(alice)
    assert (line["action"], line["admin_id"], line["reason"]) == ("delete_user", acts.admin.user.id, WHY)
    problem(await acts.do(f"users/{alice.user.id}/delete"), 409, "user_deleted")
    problem(await acts.do(f"users/{alice.user.id}/credits", amount=1), 409, "user_deleted")
    assert len(await acts.lines(alice)) == 1
    assert (await bob.http.get("/v1/me")).status_code == 200


async def test_nobody_else_deletes(acts: Acts, alice: Member, bob: Member) -> None:
    problem(await acts.do(f"users/{uuid4()}/delete"), 404, "not_found")
    refused = await bob.http.post(f"/v1/admin/users/{alice.user.id}/delete", json={"reason": WHY})
    problem(refused, 403, "forbidden")
    problem(await acts.admin.http.post(f"/v1/admin/users/{alice.user.id}/delete"), 422, "validation_failed")
    problem(await acts.do(f"users/{acts.admin.user.id}/delete"), 403, "forbidden")
    assert (await alice.http.get("/v1/me")).status_code == 200
