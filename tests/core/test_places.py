"""Which places are granted, how they are kept, and what a refusal gives away."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import LocalError, ProtocolError
from sansio.opencode.places import granted_directory, is_inside, place_as_text, place_of_text
from sansio.opencode.requests import HERE, Place, create_session, get_session, messages, prompt

names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(names, max_size=4).map(lambda found: "/" + "/".join(found))


@pytest.mark.parametrize(
    ("root", "path", "inside"),
    [
        ("/project", "/project", True),
        ("/project", "/project/", True),
        ("/project/", "/project/a/b", True),
        ("/project", "/project/a/../b", True),
        ("/project", "/project/..", False),
        ("/project", "/project/a/../../b", False),
        ("/project", "/projectshop", False),
        ("/project", "/", False),
        ("/project", "/other/work", False),
        ("/", "/anything", True),
        ("/project", "work", False),
    ],
)
def test_inside_means_the_root_or_below_it(root: str, path: str, inside: bool) -> None:
    assert is_inside(root, path) is inside


@given(paths, st.lists(names | st.just(".."), max_size=6))
def test_inside_is_what_the_parts_of_the_path_say(root: str, steps: list[str]) -> None:
    path = posixpath.normpath("/".join([root, *steps]))
    wanted, found = [[part for part in one.split("/") if part] for one in (root, path)]

    assert is_inside(root, path) is (found[: len(wanted)] == wanted)


def test_a_directory_below_the_root_is_granted() -> None:
    assert granted_directory("/project", "/project/a", override=True, exists=True) == Place(directory="/project/a")


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("override", [True, False])
def test_outside_it_does_not_matter_what_there_is(override: bool, exists: bool) -> None:
    with pytest.raises(ProtocolError) as refused:
        granted_directory("/secret/root", "/secret/elsewhere", override=override, exists=exists)

    [violation] = refused.value.violations
    assert violation.field == "metadata.opencode.directory"
    assert violation.message == "is outside the workspace of this deployment"
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "override", "exists", "told"),
    [
        ("/secret/root/a", False, True, "A2A_ALLOW_DIRECTORY_OVERRIDE"),
        ("/secret/root/a", True, False, "is no directory"),
    ],
)
def test_a_refusal_says_why_and_names_no_path(path: str, override: bool, exists: bool, told: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        granted_directory("/secret/root", path, override=override, exists=exists)

    assert told in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_root_itself_may_always_be_named() -> None:
    assert granted_directory("/project", "/project/", override=False, exists=True).directory == "/project/"


places = st.builds(Place, directory=st.none() | paths, workspace=st.none() | names)


@given(places)
def test_a_place_is_read_as_it_was_kept(place: Place) -> None:
    assert place_of_text(place_as_text(place)) == place


def test_nowhere_special_is_kept_as_nothing() -> None:
    assert place_as_text(HERE) == ""
    assert place_of_text("") == HERE


@pytest.mark.parametrize("text", ["{", "5", "[1]", '["a", "b", "c"]', "null"])
def test_what_is_no_place_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(LocalError):
        place_of_text(text)


@pytest.mark.parametrize(
    ("place", "query"),
    [
        (HERE, ""),
        (Place(directory="/a b/ü&c=d"), "?directory=%2Fa%20b%2F%C3%BC%26c%3Dd"),
        (Place(workspace="wrk 1"), "?workspace=wrk%201"),
        (Place(directory="/a", workspace="wrk"), "?workspace=wrk"),
    ],
)
def test_every_call_says_where(place: Place, query: str) -> None:
    calls = (
        create_session(None, place),
        get_session("ses", place),
        messages("ses", place),
        prompt("ses", "msg", [], place=place),
    )

    assert [call.target.partition("?")[1] + call.target.partition("?")[2] for call in calls] == [query] * 4
