"""`--output`: an answer and its files, on the disk and nowhere else."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_a2a.cli.call import run_from_arguments
from opencode_a2a.config.settings import Settings
from opencode_a2a.terminal.saving import Saving, safe_name
from sansio.a2a.client.client_errors import UsageError
from sansio.a2a.model import Artifact, ArtifactUpdate, FilePart, TaskState
from tests.shell.calling import COMPLETED, WORKING, Scene, Screen, parsed, says, status


def file(name: str | None, content: bytes = b"x", media_type: str | None = None) -> FilePart:
    return FilePart(raw=base64.b64encode(content).decode(), filename=name, media_type=media_type)


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/cron.d/x", "x"),
        ("..", "file.txt"),
        (".bashrc", "bashrc"),
        ("a\x1b[2J\nb.txt", "a__2J_b.txt"),
        ("", "file.txt"),
        ("nul.txt", "file.txt"),
        ("größe 日本.txt", "größe 日本.txt"),
        ("x" * 300 + ".tar", "x" * 116 + ".tar"),
    ],
)
def test_a_name_stays_a_name(given_name: str, name: str) -> None:
    assert safe_name(file(given_name, media_type="text/plain")) == name


@given(st.text(max_size=300))
def test_any_name_is_one_file_in_the_directory(given_name: str) -> None:
    name = safe_name(file(given_name))

    assert Path(name).name == name
    assert not name.startswith(".")
    assert 0 < len(name.encode()) <= 120
    assert re.fullmatch(r"[^\x00-\x1f\x7f-\x9f/\\]+", name)


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("mine")
    (tmp_path / "d" / "b.txt").symlink_to(target)

    written = Saving.at(f"{tmp_path}/d/").write("hello", [file("a.txt", b"1"), file("b.txt"), file("a.txt", b"2")])

    assert [path.name for path in written] == ["answer.md", "a-1.txt", "b-1.txt", "a-2.txt"]
    assert (tmp_path / "d" / "a.txt").read_text() == "mine"
    assert [path.read_bytes() for path in written] == [b"hello\n", b"1", b"x", b"2"]
    assert not target.exists()


def test_many_files_of_one_name_are_all_written(tmp_path: Path) -> None:
    written = Saving.at(f"{tmp_path}/").write("", [file("same")] * 1100)

    assert len(set(written)) == 1100


def test_a_long_name_of_a_file_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("\N{GRINNING FACE}" * 63)

    assert Saving.at(str(path)).write("hello", []) == [path]


@pytest.mark.parametrize("name", ["circle", "circle/", "nowhere", "gone/", "x" * 300])
def test_what_cannot_be_written_is_known_before_the_call(tmp_path: Path, name: str) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("missing/file")
    (tmp_path / "gone").symlink_to("missing")

    with pytest.raises(UsageError, match="--output: "):
        Saving.at(f"{tmp_path}/{name}")


def test_links_and_what_is_no_base64_are_not_written(tmp_path: Path) -> None:
    parts = [FilePart(url="http://a/b.txt", filename="b.txt"), FilePart(raw="no base64!", filename="c.txt")]

    assert Saving.at(str(tmp_path)).write("", parts) == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "answer.txt"
    path.write_text("old")
    path.chmod(0o640)

    assert Saving.at(str(path)).write("new", []) == [path]
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new\n", 0o640)
    assert [one.name for one in tmp_path.iterdir()] == ["answer.txt"]


def test_a_device_is_written_to_and_not_replaced() -> None:
    Saving.at(os.devnull).write("text", [])

    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("given_path", ["", "no-such-directory/x", "a\0b"])
def test_a_place_that_cannot_be_is_refused_before_the_call(given_path: str) -> None:
    with pytest.raises(UsageError, match="--output"):
        Saving.at(given_path)


@pytest.mark.anyio
@pytest.mark.parametrize(("state", "code"), [(TaskState.COMPLETED, 0), (TaskState.FAILED, 1)])
async def test_an_answer_is_shown_and_written_whatever_becomes_of_the_task(
    scene: Scene, tmp_path: Path, state: TaskState, code: int
) -> None:
    attached = Artifact(artifact_id="f", parts=(file("../plot.png", b"PNG"),))
    update = ArtifactUpdate(task_id="t1", context_id="c1", artifact=attached)
    scene.offers(WORKING, says("Hello", append=False), update, status(state))
    out, err = Screen(), Screen()

    seen = await run_from_arguments(
        parsed(scene.url, "hi", "--output", f"{tmp_path}/new/"), Settings(), out, err, Screen()
    )

    assert (seen, out.getvalue()) == (code, "Hello\n")
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {
        "answer.md": b"Hello\n",
        "plot.png": b"PNG",
    }


@pytest.mark.anyio
async def test_an_answer_that_breaks_off_is_written_as_far_as_it_came(scene: Scene, tmp_path: Path) -> None:
    scene.offers(WORKING, says("Half", append=False), b"data: nonsense\n\n", COMPLETED)
    path = tmp_path / "answer.txt"

    code = await run_from_arguments(
        parsed(scene.url, "hi", "--output", str(path)), Settings(), Screen(), Screen(), Screen()
    )

    assert (code, path.read_text()) == (4, "Half\n")


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["", "\n", " \n\n", "\n\n\n"], ids=repr)
async def test_the_end_of_an_answer_is_written_as_it_is(scene: Scene, tmp_path: Path, end: str) -> None:
    scene.offers(WORKING, says(f"Hello{end}", append=False), COMPLETED)
    path, out = tmp_path / "answer.txt", Screen()

    await run_from_arguments(parsed(scene.url, "hi", "--output", str(path)), Settings(), out, Screen(), Screen())

    assert path.read_text() == out.getvalue() == f"Hello{end or chr(10)}"


@pytest.mark.anyio
@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.INPUT_REQUIRED])
async def test_a_file_is_kept_where_no_answer_came(scene: Scene, tmp_path: Path, state: TaskState) -> None:
    scene.offers(WORKING, status(state))
    path = tmp_path / "answer.txt"
    path.write_text("mine")

    await run_from_arguments(parsed(scene.url, "hi", "--output", str(path)), Settings(), Screen(), Screen(), Screen())

    assert path.read_text() == "mine"


@pytest.mark.anyio
async def test_an_empty_answer_is_an_answer(scene: Scene, tmp_path: Path) -> None:
    scene.offers(WORKING, COMPLETED)
    path = tmp_path / "answer.txt"
    path.write_text("of the last call")

    await run_from_arguments(parsed(scene.url, "hi", "--output", str(path)), Settings(), Screen(), Screen(), Screen())

    assert path.read_text() == ""
