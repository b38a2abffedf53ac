"""The file with the lines of conversations: where it is, who can read it, how long it gets."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from opencode_a2a.terminal.chat_history import ENTRIES, SIZE, HistoryFile, state_directory


def test_the_directory_is_the_one_for_a_users_state() -> None:
    home = Path("/home/ada")

    assert state_directory({"XDG_STATE_HOME": "/state"}, home) == Path("/state/opencode-a2a")
    assert state_directory({"XDG_STATE_HOME": "relative"}, home) == home / ".local/state/opencode-a2a"
    assert state_directory({}, home) == home / ".local/state/opencode-a2a"


def test_only_the_user_can_read_it(tmp_path: Path) -> None:
    history = HistoryFile.below(tmp_path / "a" / "b")
    history.append("first")
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.path.parent.stat().st_mode) == 0o700

    history.path.chmod(0o644)
    history.append("second")

    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600
    assert history.read() == ["first", "second"]


@given(entries=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), max_size=5))
def test_what_is_kept_is_read_again(entries: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        history = HistoryFile.below(Path(directory))
        for entry in entries:
            history.append(entry)

        assert history.read() == [one for one in entries if one.strip() and not one[0].isspace()]


def test_what_begins_with_a_blank_and_what_is_very_long_is_not_kept(tmp_path: Path) -> None:
    history = HistoryFile.below(tmp_path)
    for entry in (" secret", "", "x" * 20_000, "a\nb", "bad \udcff"):
        history.append(entry)

    assert history.read() == ["a\nb", "bad ?"]


def test_lines_that_are_no_entries_are_left_out(tmp_path: Path) -> None:
    history = HistoryFile.below(tmp_path)
    history.path.write_bytes(b'"one"\n{"a": 1}\n\xff\n"two"\n"thr')

    assert history.read() == ["one", "two"]


def test_a_file_that_has_grown_is_cut_to_its_newest_entries(tmp_path: Path) -> None:
    history = HistoryFile.below(tmp_path)
    history.path.write_bytes(b"".join(b'"%06d %b"\n' % (number, b"x" * 992) for number in range(SIZE // 1000)))

    found = history.read()

    assert len(found) == ENTRIES
    assert found[-1].startswith(f"{SIZE // 1000 - 1:06d}")
    assert history.path.stat().st_size <= SIZE
    assert history.read() == found
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [history.path.name]
