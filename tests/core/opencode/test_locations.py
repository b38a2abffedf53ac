"""Which places are granted, how they are kept, and what a refusal gives away."""

from __future__ import annotations

import posixpath
from urllib.parse import parse_qs, quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import LocalError, ProtocolError
from sansio.opencode.locations import (
    granted_directory,
    is_inside,
    is_misread,
    is_where_opencode_works,
    location_as_text,
    location_of_text,
)
from sansio.opencode.upstream.identifiers import is_identifier, segment
from sansio.opencode.upstream.requests import (
    DEFAULT_LOCATION,
    Location,
    create_session,
    get_session,
    messages,
    prompt,
    question_reject,
)

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
    assert granted_directory("/project", "/project/a", override=True, exists=True) == Location(directory="/project/a")


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


locations = st.builds(Location, directory=st.none() | paths, workspace=st.none() | names)


@given(locations)
def test_a_place_is_read_as_it_was_kept(location: Location) -> None:
    assert location_of_text(location_as_text(location)) == location


def test_nowhere_special_is_kept_as_nothing() -> None:
    assert location_as_text(DEFAULT_LOCATION) == ""
    assert location_of_text("") == DEFAULT_LOCATION


@given(paths)
def test_a_directory_is_the_same_once_it_was_decoded_twice(path: str) -> None:
    query = Location(directory=path).query

    assert unquote(unquote(query.removeprefix("?directory="))) == path
    assert parse_qs(query[1:])["directory"] == [quote(path, safe="")]


@pytest.mark.parametrize(
    ("said", "same", "root", "granted"),
    [
        ("/project/a", False, None, True),
        ("/secret", False, None, False),
        ("/project/b", False, None, False),
        ("/link-to-a", True, None, True),
        ("/real/a", False, "/real", True),
        ("/really", False, "/real", False),
    ],
)
def test_opencode_must_work_where_it_was_asked_to(said: str, same: bool, root: str | None, granted: bool) -> None:
    assert is_where_opencode_works("/project/a", said, same=same, root=root) is granted


@given(st.text())
def test_an_id_is_one_segment_of_a_path_or_an_error(value: str) -> None:
    try:
        found = segment(value)
    except ProtocolError:
        assert not is_identifier(value)
    else:
        assert unquote(found) == value
        assert not set(found) & set("/?#;\\ ")
        assert found.strip(".")


@pytest.mark.parametrize(
    "value", ["", ".", "..", "...", "%2e%2e", "ses_1/../x", "ses_1?x", "ses_1#", "ses 1", "ses\0", "ü"]
)
def test_what_cannot_be_an_id_is_never_put_into_a_path(value: str) -> None:
    calls = (get_session, messages, lambda one: prompt(one, "msg", []), lambda one: question_reject(one))

    for call in calls:
        with pytest.raises(ProtocolError):
            call(value)


@pytest.mark.parametrize("text", ["{", "5", "[1]", '["a", "b", "c"]', "null"])
def test_what_is_no_place_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(LocalError):
        location_of_text(text)


@pytest.mark.parametrize(
    ("location", "query"),
    [
        (DEFAULT_LOCATION, ""),
        (Location(directory="/a b/ü&c=d"), "?directory=%252Fa%2520b%252F%25C3%25BC%2526c%253Dd"),
        (Location(workspace="wrk_1"), "?workspace=wrk_1"),
        (Location(directory="/a", workspace="wrk"), "?workspace=wrk"),
    ],
)
def test_every_call_says_where(location: Location, query: str) -> None:
    calls = (
        create_session(None, location),
        get_session("ses", location),
        messages("ses", location),
        prompt("ses", "msg", [], location=location),
    )

    assert [call.target.partition("?")[1] + call.target.partition("?")[2] for call in calls] == [query] * 4


@pytest.mark.parametrize("path", ["/a%2fb", "/%2e%2e%2fx", "/100%25/y", "/a%20b", "/%FF", "/%zz/%41"])
def test_a_path_that_opencode_decodes_is_refused(path: str) -> None:
    assert is_misread(path)
    assert not is_where_opencode_works(path, path, same=True, root="/")
    with pytest.raises(ProtocolError) as refused:
        granted_directory("/", path, override=True, exists=True)

    assert refused.value.violations[0].field == "metadata.opencode.directory"


@given(paths)
def test_a_path_that_is_not_misread_is_the_same_once_decoded(path: str) -> None:
    assert is_misread(path) or unquote(path) == path
