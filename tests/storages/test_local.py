import errno
import os
import re
import stat
from pathlib import Path

import pytest

from tallyframe.storages.base import StorageError
from tallyframe.storages.local import LocalStorage

KEY = "generations/1/image.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "media"


@pytest.fixture
def storage(folder: Path) -> LocalStorage:
    return LocalStorage(folder, "https://api.example/v1/")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


async def test_a_file_is_for_its_owner_and_group(storage: LocalStorage, folder: Path) -> None:
    await storage.put(KEY, b"data", "image/png")
    assert files(folder) == [KEY]
    assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o640
    assert stat.S_IMODE((folder / KEY).parent.stat().st_mode) & 0o007 == 0


def test_url(storage: LocalStorage) -> None:
    assert storage.url(KEY) == f"https://api.example/v1/media/{KEY}"
    assert (
        storage.url(KEY, download_as="a b/ö.png") == f"https://api.example/v1/media/{KEY}?download=a%20b%2F%C3%B6.png"
    )
    assert storage.url(KEY, download_as="").endswith("?download=")


async def test_open_path_is_the_real_path_of_a_file(storage: LocalStorage, folder: Path) -> None:
    assert storage.open_path(KEY) is None
    await storage.put(KEY, b"data", "image/png")
    path = storage.open_path(KEY)
    assert path == (folder / KEY).resolve()
    assert storage.open_path("generations/1") is None
    os.mkfifo(folder / "pipe")
    assert storage.open_path("pipe") is None


@pytest.mark.parametrize(
    "key",
    [
        "../secret",
        "generations/../../secret",
        "..%2fsecret",
        "%2e%2e/secret",
        "..\\secret",
        "/etc/passwd",
        "//etc/passwd",
        "secret\x00.png",
        "secret\x00",
        "\uff0e\uff0e/secret",
        "....//secret",
        "a/./b",
        "a" * 256,
        "secret/",
        "",
    ],
)
async def test_no_key_leads_outside(storage: LocalStorage, folder: Path, key: str) -> None:
    await storage.put(KEY, b"data", "image/png")
    (folder.parent / "secret").write_bytes(b"secret")
    assert storage.open_path(key) is None
    with pytest.raises(StorageError):
        await storage.get(key)
    with pytest.raises(StorageError):
        await storage.put(key, b"overwritten", "image/png")
    assert (folder.parent / "secret").read_bytes() == b"secret"


@pytest.mark.parametrize("key", ["link", "away/secret", "deep/away/secret", "loop", "dangling"])
async def test_a_link_is_not_followed(storage: LocalStorage, folder: Path, key: str) -> None:
    (folder / "deep").mkdir(parents=True)
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(outside / "secret")
    (folder / "away").symlink_to(outside)
    (folder / "deep" / "away").symlink_to("../../outside")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to(outside / "new")
    assert storage.open_path(key) is None
    for action in (storage.get(key), storage.put(key, b"overwritten", "image/png"), storage.delete(key)):
        with pytest.raises(StorageError):
            await action
    assert files(outside) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


async def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "media").symlink_to(tmp_path / "disk")
    storage = LocalStorage(tmp_path / "media", "http://127.0.0.1:8000")
    await storage.put(KEY, b"data", "image/png")
    assert storage.open_path(KEY) == (tmp_path / "disk" / KEY).resolve()


def fail(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace"])
async def test_a_write_that_fails_leaves_the_old_bytes_and_nothing_else(
    storage: LocalStorage, folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.put(KEY, b"old", "image/png")
    with monkeypatch.context() as patch:
        patch.setattr(Path if step == "replace" else os, step, fail)
        with pytest.raises(
            StorageError, match=r"can't write 'generations/1/image\.png': \[28\] No space left"
        ) as caught:
            await storage.put(KEY, b"new", "image/png")
    assert isinstance(caught.value.__cause__, OSError)
    assert await storage.get(KEY) == b"old"
    assert files(folder) == [KEY]


async def test_a_temporary_file_has_a_name_no_key_can_have(
    storage: LocalStorage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        seen.append(self.relative_to(folder.resolve()).as_posix())
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    await storage.put(KEY, b"data", "image/png")
    [temporary] = seen
    assert temporary.startswith("generations/1/.")
    with pytest.raises(StorageError):
        await storage.get(temporary)


async def test_the_bytes_and_the_name_are_on_the_disk_before_put_returns(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await storage.put(KEY, b"data", "image/png")
    assert synced == [False, True, True, True]  # the file, then generations/1, generations and the folder itself


@pytest.mark.parametrize("action", ["write", "read", "delete"])
async def test_a_folder_in_place_of_a_file_is_an_error_that_names_the_key(
    storage: LocalStorage, folder: Path, action: str
) -> None:
    (folder / KEY).mkdir(parents=True)
    actions = {"write": storage.put(KEY, b"", ""), "read": storage.get(KEY), "delete": storage.delete(KEY)}
    with pytest.raises(StorageError, match=rf"can't {action} 'generations/1/image\.png': \[\d+\] \w+"):
        await actions.pop(action)
    for unused in actions.values():
        unused.close()


async def test_a_file_in_place_of_a_folder(storage: LocalStorage) -> None:
    await storage.put("generations", b"data", "image/png")
    await storage.delete(KEY)
    assert storage.open_path(KEY) is None
    for action in (storage.get(KEY), storage.put(KEY, b"", "image/png")):
        with pytest.raises(StorageError):
            await action


async def test_what_cannot_be_looked_into_is_not_said_to_be_deleted(storage: LocalStorage, folder: Path) -> None:
    """Nor forgotten: whoever is told that a file is gone never asks for it again."""
    await storage.put(KEY, b"data", "image/png")
    aside = folder.rename(folder.with_name("aside"))
    folder.touch()
    with pytest.raises(StorageError, match="can't delete"):
        await storage.delete(KEY)
    folder.unlink()
    aside.rename(folder)
    await storage.delete(KEY)
    assert files(folder) == []


async def test_a_name_too_long_for_the_disk_is_an_error_of_the_storage(storage: LocalStorage) -> None:
    key = "a" * 300
    assert storage.open_path(key) is None
    for action in (storage.get(key), storage.put(key, b"", "image/png"), storage.delete(key)):
        with pytest.raises(StorageError):
            await action


async def test_the_probe_writes_and_leaves_nothing(storage: LocalStorage, folder: Path) -> None:
    found = await storage.probe()
    assert re.fullmatch(rf"{re.escape(str(folder))} is writable, \d+\.\d GiB free", found)
    assert list(folder.iterdir()) == []
    await storage.aclose()


@pytest.mark.parametrize("in_the_way", ["data", "data/media"])
async def test_the_probe_of_a_folder_that_can_not_be(storage: LocalStorage, tmp_path: Path, in_the_way: str) -> None:
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_bytes(b"a file")
    with pytest.raises(StorageError, match=r"can't write to '/.*/data/media': \[\d+\] "):
        await storage.probe()


async def test_the_probe_of_a_full_disk(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb"))
    with pytest.raises(StorageError, match=r"can't write to '/.*/data/media': \[28\] No space left"):
        await storage.probe()
