"""The console in a real Chromium, used as a person uses it: by what it shows, by names and roles, by keys."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO
from tests.interop.console.accessibility import violations
from tests.interop.console.browser import Browser, Page, Person, until
from tests.interop.console.conftest import KEY, PASSWORD, TOKEN, Server, logged_in
from tests.interop.console.fake_opencode_server import HOSTILE

pytestmark = pytest.mark.interop

CARDS = "document.querySelectorAll('.card:not(.settled)').length"


def start(page: Page, text: str) -> str:
    """Start a task in the page; return its id."""
    page.click("link", "New task")
    page.fill("textbox", "Message", text)
    page.click("button", "Start")
    return str(page.until("/^#.task.(.+)/.exec(location.hash)?.[1]"))


def card_of(task: str) -> str:
    """A script for the card of a task that is in the page."""
    return f"document.querySelector('.card a[href$=\"{task}\"]')?.closest('.card')"


def press_in(page: Page, task: str, label: str) -> None:
    """Click a button of a task's card."""
    button = f"[...{card_of(task)}.querySelectorAll('button')].find(b => b.innerText === {json.dumps(label)})"
    page.until(f"{card_of(task)} && {button}")
    page.run(f"{button}.click()")


def test_a_wrong_credential_is_refused_and_a_right_one_lets_in(server: Server, person: Person) -> None:
    page = person.page(f"{server.url}/console")
    page.fill("textbox", "Token", "wrong")
    page.press("Enter")
    page.sees("The server does not know this credential.")

    page.fill("textbox", "Token", TOKEN)
    page.press("Enter")

    page.sees("Waiting for you")
    page.sees("ada")
    assert TOKEN not in page.run("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")


@pytest.mark.parametrize(("way", "principal"), [("User name and password", "bob"), ("API key", "cleo")])
def test_other_credentials_let_in_too_and_show_no_metrics(
    server: Server, person: Person, way: str, principal: str
) -> None:
    page = person.page(f"{server.url}/console")
    page.click("radio", way)
    if principal == "bob":
        page.fill("textbox", "User name", "bob")
        page.fill("textbox", "Password", PASSWORD)
    else:
        page.fill("textbox", "API key", KEY)
    page.click("button", "Log in")

    page.sees("Waiting for you")
    page.sees(principal)
    assert page.all("link", "Server") == []


def test_a_task_is_started_and_watched(page: Page) -> None:
    start(page, "THINK hard")

    page.sees("I have thought about it.")
    page.until("document.querySelector('.task .state.completed')")
    page.sees("tokens")
    assert page.run("document.querySelector('details.reasoning').open") is False
    page.run("document.querySelector('details.reasoning').open = true")
    page.sees("Let me think about that.")


def test_a_message_may_name_its_model(page: Page) -> None:
    page.click("link", "New task")
    page.fill("textbox", "Message", "hi")
    page.fill("combobox", "Model", "standin/scripted")
    page.click("button", "Start")

    page.sees(HELLO)
    page.sees("standin/scripted")
    page.click("link", "Tasks")
    page.sees("standin/scripted")


@pytest.mark.parametrize("model", ["nonsense", "/scripted", "standin/", "a b/c d"])
def test_what_is_no_model_is_refused_in_the_form(page: Page, model: str) -> None:
    page.click("link", "New task")
    page.fill("textbox", "Message", "hi")
    page.fill("combobox", "Model", model)
    page.click("button", "Start")

    page.sees("Write the model as provider/model, or leave it empty.")
    assert page.focused == "Model"
    assert page.run("location.hash") == "#/new"


def test_a_tool_call_has_its_input_and_output(page: Page) -> None:
    start(page, "STEPS")

    page.until("document.querySelector('.tool .state.completed')")
    page.run("document.querySelector('details.tool').open = true")
    page.sees("echo hello-from-tool")
    page.sees("hello-from-tool\n")
    page.sees(AFTER_TOOL)


def test_a_permission_comes_by_itself_and_is_allowed(page: Page, server: Server) -> None:
    task = server.send("PERMISSION")

    page.until(card_of(task))
    page.until("/^\\(\\d+\\) /.test(document.title)")
    page.sees("echo hello-from-tool")
    press_in(page, task, "Allow once")

    page.until(f"{card_of(task)}.innerText.includes('You allowed this once.')")
    page.run(f"location.hash = '#/task/{task}'")
    page.sees(AFTER_TOOL)


LINE = "[...document.querySelectorAll('.task li')].find(line => line.querySelector('time'))"
"""A script for the line of a request that has ended."""


def test_a_permission_stays_with_its_answer_and_who_gave_it(page: Page) -> None:
    start(page, "PERMISSION")
    page.until("document.querySelector('details.tool .state')?.innerText === 'waits for an answer'")
    page.click("button", "Allow once")
    page.until("document.querySelector('.tool .state.completed')")
    page.until("document.querySelector('.card .outcome + time')?.dateTime")
    assert "Expires" not in page.text
    assert page.run(f"{LINE} === undefined")  # its card says it

    page.reload()
    line = "Permission: bash: echo hello-from-tool — allowed once by ada, at "
    page.until(f"{LINE}?.innerText.startsWith({json.dumps(line)})")
    time = page.run(f"{LINE}.querySelector('time').dateTime")
    page.reload()
    page.until(f"{LINE}?.innerText.startsWith({json.dumps(line)})")
    assert page.run(f"{LINE}.querySelector('time').dateTime") == time
    assert page.run("document.querySelectorAll('.task .card').length") == 0


def test_no_message_rejects_a_permission_unawares(page: Page) -> None:
    start(page, "PERMISSION")
    page.sees("A permission waits above.")
    page.fill("textbox", "Next message", "and then the tests")
    page.run("document.querySelector('form.message').requestSubmit()")
    assert page.all("button", "Send") == []

    page.click("button", "Allow once")
    page.find("button", "Send")
    page.sees_not("A permission waits above.")
    page.sees(AFTER_TOOL)
    assert page.run("document.querySelector('form.message textarea').value") == "and then the tests"
    assert page.run("document.querySelector('.card .outcome').innerText") == "You allowed this once."


def test_an_earlier_task_of_a_conversation_that_waits_sends_nothing_either(page: Page, server: Server) -> None:
    start(page, "COUNT")
    page.sees("You have said 1 things.")
    first = page.run("location.hash")
    page.fill("textbox", "Next message", "PERMISSION")
    page.click("button", "Send")
    page.click("button", "Cancel task")
    page.click("button", "Keep it running")
    page.sees("A permission waits above.")
    page.run(f"location.hash = {json.dumps(first)}")

    page.sees("A permission waits in another task of this conversation.")
    assert page.all("button", "Send") == []


def test_a_message_may_answer_a_question(page: Page) -> None:
    start(page, "QUESTION")
    page.sees("A question waits. A message from here is taken as its answer.")
    page.fill("textbox", "Next message", "B")
    page.click("button", "Send")

    page.until("document.querySelector('.card .outcome')?.innerText === 'It was answered “B” by ada.'")
    page.sees(AFTER_TOOL)


def test_times_move_on(page: Page) -> None:
    task = start(page, "INSTANT")
    page.until("document.querySelector('.task .state.completed')")
    for path, time in ((f"task/{task}", ".task time.moving"), ("tasks", f'tr:has([href$="{task}"]) time.moving')):
        page.run(f"location.hash = '#/{path}'")
        page.until(f"document.querySelector('{time}')")
        page.run(f"document.querySelector('{time}').dateTime = '2020-01-01T00:00:00Z'")
        page.until(f"document.querySelector('{time}').innerText.endsWith(' days ago')")
    assert page.run("document.querySelectorAll(':is([aria-live], [role=status], [role=alert]) time').length") == 0


def test_what_another_program_rejects_is_recorded_with_its_reason(page: Page, server: Server) -> None:
    task = start(page, "PERMISSION")
    page.sees("Allow once")
    server.send("no", context={"taskId": task})

    page.until("document.querySelector('.card .outcome')?.innerText === 'It was rejected by ada.'")
    page.reload()
    page.until(f"{LINE}?.innerText.includes('rejected by ada, at ')")


def test_where_no_stream_runs_the_task_says_who_answered(page: Page, server: Server) -> None:
    task = server.send("PERMISSION")
    page.until(card_of(task))
    server.send("not on a Friday", context={"taskId": task})

    outcome = "It was rejected by ada, with the reason “not on a Friday”."
    page.until(f"{card_of(task)}.querySelector('.outcome')?.innerText === {json.dumps(outcome)}")
    page.until(f"{card_of(task)}.querySelector('.outcome + time').dateTime")
    assert page.run(f"{card_of(task)}.innerText.includes('Expires')") is False


def test_nothing_moves_below_a_pointer_and_no_gap_stays(page: Page, server: Server) -> None:
    first = server.send("QUESTION")
    page.until(card_of(first))
    second = server.send("PERMISSION")
    page.until(card_of(second))
    place = f"{card_of(second)}.offsetTop"
    before = page.run(place)
    page.ask("Input.dispatchMouseEvent", type="mouseMoved", x=600, y=400)
    page.until("document.querySelector('.cards:hover')")
    server.send("B", context={"taskId": first})
    page.until(f"{card_of(first)}.matches('.settled')")
    assert page.run(place) == before

    page.ask("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    page.until(f"{place} < {before}")
    server.call("CancelTask", {"id": second})


def test_answers_to_questions_stay_after_a_restart(person: Person, server: Server) -> None:
    page = logged_in(person, server)
    start(page, "QUESTION")
    page.click("radio", "B the second")
    page.click("button", "Send answer")
    page.sees(AFTER_TOOL)
    server.stop()
    server.start()
    page.reload()
    page.fill("textbox", "Token", TOKEN)
    page.press("Enter")

    page.until(f"{LINE}?.innerText.includes(' — answered “B” by ada, at ')")


def test_a_message_that_is_the_title_is_not_repeated(page: Page) -> None:
    long = "INSTANT " + "and so on " * 20
    start(page, "INSTANT once")
    page.until("document.querySelector('.task .state.completed')")
    assert page.text.count("INSTANT once") == 1

    start(page, long)
    page.until("document.querySelector('.task .state.completed')")
    page.until("document.querySelector('h1')?.innerText.endsWith('…')")
    page.run("document.querySelector('.prompt details').open = true")
    page.sees(long.strip())


COUNTED = """
(() => {
  window.notes = 0;
  window.AudioContext = class extends AudioContext {
    createOscillator() {
      window.notes += 1;
      return super.createOscillator();
    }
  };
})()
"""
"""Counts the notes that a page plays."""


def test_a_sound_is_played_once_it_is_turned_on(page: Page, server: Server) -> None:
    page.run(COUNTED)
    first = server.send("PERMISSION")
    page.until(card_of(first))
    assert page.run("window.notes") == 0  # it is off at first

    page.click("button", "Sound")
    assert page.run("localStorage.getItem('a2a-console-sound')") == "on"
    page.until("document.querySelector('[aria-pressed]')?.ariaPressed === 'true' && window.notes === 2")
    second = server.send("PERMISSION")
    page.until(f"{card_of(second)} && window.notes === 4")

    page.reload()
    page.until("document.querySelector('[aria-pressed]')?.ariaPressed === 'true'")
    page.run(COUNTED)
    page.until(card_of(second))
    page.click("button", "Sound")
    page.until("document.querySelector('[aria-pressed]')?.ariaPressed === 'false'")
    assert page.run("localStorage.getItem('a2a-console-sound')") == "off"
    for task in (first, second):
        server.call("CancelTask", {"id": task})


def test_no_sound_is_kept_for_the_first_click(page: Page, server: Server) -> None:
    page.run("localStorage.setItem('a2a-console-sound', 'on')")
    page.reload()
    page.run(COUNTED)
    task = server.send("PERMISSION")
    page.until(card_of(task))

    assert page.run("navigator.userActivation.hasBeenActive") is False
    assert page.run("window.notes") == 0
    server.call("CancelTask", {"id": task})


def test_a_permission_is_rejected_with_a_reason(page: Page, server: Server) -> None:
    task = server.send("PERMISSION")
    press_in(page, task, "Reject…")
    page.fill("textbox", "Reason, which the model reads (optional)", "not on a Friday")
    press_in(page, task, "Send rejection")

    page.until(f"{card_of(task)}.innerText.includes('You rejected this.')")
    page.run(f"location.hash = '#/task/{task}'")
    page.until("document.querySelector('.tool .state.error')")
    page.run("document.querySelector('details.tool').open = true")
    page.sees("not on a Friday")


def test_a_question_is_answered_where_its_task_is_watched(page: Page) -> None:
    start(page, "QUESTION")
    page.click("radio", "B the second")
    page.click("button", "Send answer")

    page.sees("You answered: B")
    page.sees(AFTER_TOOL)


def test_several_questions_take_several_choices_and_own_words(page: Page) -> None:
    start(page, "SEVERAL")
    page.click("checkbox", "red as red as it gets")
    page.click("checkbox", "blue as blue as it gets")
    page.click("button", "Send answer")
    page.sees("Question 2 has no answer yet.")
    page.fill("textbox", "Answer", "Ada")
    page.click("button", "Send answer")

    page.sees("You answered: red, blue; Ada")
    page.sees("Thank you.")


def test_a_task_is_canceled_once_the_person_agrees(page: Page) -> None:
    start(page, "SLOW")
    page.sees("tick3")
    page.click("button", "Cancel task")
    page.click("button", "Keep it running")
    page.sees("tick6")
    page.click("button", "Cancel task")
    page.click("button", "Cancel the task")

    page.until("document.querySelector('.task .state.canceled')")
    assert page.run("document.activeElement.tagName") == "H1"


def test_a_dialog_closes_on_the_way_back(page: Page) -> None:
    task = start(page, "SLOW")
    page.click("button", "Cancel task")
    page.find("button", "Cancel the task")
    page.run("history.back()")

    page.until("!document.querySelector('dialog') && document.activeElement.innerText === 'New task'")
    page.run("history.forward()")
    page.sees("tick3")
    assert page.run("location.hash").endswith(task)
    page.click("button", "Cancel task")
    page.click("button", "Cancel the task")
    page.until("document.querySelector('.task .state.canceled')")


def test_a_login_at_a_view_leads_to_its_heading(person: Person, server: Server) -> None:
    page = logged_in(person, server, "#/new")

    page.until("document.activeElement.tagName === 'H1' && document.activeElement.innerText === 'New task'")


def test_a_conversation_goes_on(page: Page) -> None:
    first = start(page, "COUNT")
    page.sees("You have said 1 things.")
    page.fill("textbox", "Next message", "COUNT again")
    page.click("button", "Send")

    page.sees("You have said 2 things.")
    assert not page.run("location.hash").endswith(first)


def test_a_page_that_is_loaded_again_goes_on_with_the_stream(page: Page) -> None:
    start(page, "SLOW")
    page.sees("tick4")
    page.reload()

    page.sees("tick12")
    ticks = re.findall(r"tick(\d+)", page.text)
    assert [int(tick) for tick in ticks] == list(range(len(ticks)))
    page.click("button", "Cancel task")
    page.click("button", "Cancel the task")
    page.until("document.querySelector('.task .state.canceled')")


def test_a_stream_survives_a_restart_of_the_server(person: Person, server: Server) -> None:
    page = logged_in(person, server)
    task = start(page, "TICKS")
    page.sees("tick4")
    server.stop()
    page.sees("The connection is lost.")
    server.start()
    # The sessions of one server are in its memory, and end with it.
    page.sees("Your session has ended.")
    page.fill("textbox", "Token", TOKEN)
    page.press("Enter")

    page.until("document.querySelector('.task .state.completed')")
    assert page.run("location.hash").endswith(task)
    assert page.run("document.querySelector('section.text .markdown').innerText") == " ".join(
        f"tick{number}" for number in range(80)
    )


def test_of_two_tabs_that_answer_one_is_first(page: Page, browser: Browser, server: Server) -> None:
    other = browser.person()
    second = logged_in(other, server)
    task = server.send("PERMISSION")
    for tab in (page, second):
        tab.until(card_of(task))
    # The second page must not learn of the answer by its own poll before it answers.
    label = "[...{card}.querySelectorAll('button')].find(b => b.innerText === 'Allow once').click()".replace(
        "{card}", card_of(task)
    )
    page.run(label)
    second.run(label)

    for tab in (page, second):
        tab.until(f"{card_of(task)}.matches('.settled')")
    outcomes = sorted(str(tab.run(f"{card_of(task)}.querySelector('.outcome').innerText")) for tab in (page, second))
    assert outcomes[-1] == "You allowed this once."
    assert outcomes[0] in {
        "Somebody else answered first, or the task has ended.",
        "It was answered elsewhere, or its task has ended.",
        "It was allowed once by ada.",
    }
    other.leave()


def test_hostile_output_is_text(page: Page) -> None:
    start(page, "HOSTILE")
    page.sees("U+202E")
    page.sees("rm -r data <b onclick=alert(1)>")
    page.click("button", "Allow once")
    page.until("document.querySelector('.task .state.completed')")
    page.run("document.querySelectorAll('details').forEach(d => (d.open = true))")

    for paragraph in HOSTILE[:4]:
        page.sees(paragraph if not paragraph.startswith("[") else "a link (javascript:window.broken=4)")
    page.sees("an honest link")
    assert page.run("window.broken") is None
    assert (
        page.run("document.querySelectorAll('main :is(script, img, svg, iframe, style, object, embed, b, i)').length")
        == 0
    )
    assert page.run("[...document.querySelectorAll('main a')].every(a => /^https?:/.test(a.href))") is True
    assert page.run("document.querySelectorAll('[onclick], [onerror], [onload]').length") == 0
    assert [url for url in page.requests if "thief.test" in url] == []


def test_files_go_with_a_message_and_are_saved(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "notes.html"
    file.write_text("<script>window.broken = 1</script>")
    page.click("link", "New task")
    page.fill("textbox", "Message", "hi")
    page.attach("Files", file)
    page.click("button", "Start")

    page.sees(HELLO)
    page.sees("Save notes.html")
    page.run("[...document.querySelectorAll('button')].find(b => b.innerText.startsWith('Save notes')).click()")
    until(lambda: page.downloads == ["notes.html"], "a download")


def test_tasks_are_listed_filtered_and_paged(page: Page, server: Server) -> None:
    for number in range(27):
        server.send(f"INSTANT number {number}")
    page.click("link", "Tasks")
    page.sees("Page 1;")
    page.click("button", "Next page")
    page.sees("Page 2;")
    page.click("button", "Previous page")
    page.sees("Page 1;")
    page.run("document.querySelector('select').value = 'TASK_STATE_REJECTED'")
    page.run("document.querySelector('select').dispatchEvent(new Event('change'))")
    page.sees("There are no such tasks.")
    page.reload()
    page.sees("There are no such tasks.")
    assert page.run("document.querySelector('select').value") == "TASK_STATE_REJECTED"
    page.click("link", "Tasks")
    page.sees("Page 1;")


def test_a_model_is_not_broken_within_its_names(person: Person, server: Server) -> None:
    page = logged_in(person, server, "#/tasks", width=1280)
    server.send("INSTANT and a title that is long enough to need all of its column " * 2)
    page.sees("standin/")

    page.until("[...document.querySelectorAll('td.model')].every(cell => cell.scrollWidth <= cell.clientWidth)")
    rows = page.run(
        "[...document.querySelector('td.model').childNodes].map(node => { const range = document.createRange();"
        " range.selectNode(node); return range.getClientRects().length; })"
    )
    assert max(rows) == 1, "a name is on one row"


def test_operators_see_the_server(page: Page) -> None:
    page.click("link", "Server")

    page.sees("Turns that have ended")
    page.sees("whole turn")
    page.sees("connected")


def test_a_session_that_has_ended_begins_again_where_one_was(page: Page) -> None:
    page.click("link", "New task")
    page.fill("textbox", "Message", "THINK twice")
    page.run("fetch('console/session', {method: 'DELETE', headers: {'X-A2A-Console': '1'}})")
    page.click("button", "Start")
    page.sees("Your session has ended.")
    page.fill("textbox", "Token", TOKEN)
    page.press("Enter")

    page.sees("I have thought about it.")


def test_who_logs_out_is_out(page: Page) -> None:
    page.click("button", "Log out")

    page.find("button", "Log in")
    assert page.run("fetch('console/session', {headers: {'X-A2A-Console': '1'}}).then(a => a.status)") == 401


def test_a_task_that_is_not_there_is_said_so(page: Page) -> None:
    page.run("location.hash = '#/task/nothing'")

    page.sees("This task is not there")


def test_everything_can_be_done_by_keys(person: Person, server: Server) -> None:
    page = person.page(f"{server.url}/console")
    page.find("button", "Log in")
    page.write(TOKEN)
    page.press("Enter")
    page.until("!document.querySelector('dialog')")

    page.tab_to("New task")
    page.press("Enter")
    page.until("document.activeElement.tagName === 'H1' && document.activeElement.innerText === 'New task'")
    page.tab_to("Message")
    page.write("PERMISSION")
    page.tab_to("Start")
    page.press("Enter")
    page.until("document.querySelector('.card')")
    page.tab_to("Reject…")
    page.press(" ")
    page.until("document.activeElement.tagName === 'TEXTAREA'")
    page.write("by key")
    page.tab_to("Send rejection")
    page.press("Enter")

    page.sees("You rejected this.")
    page.until("document.activeElement.tagName === 'H2'")  # the card keeps the focus, not the top of the page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(page: Page, server: Server, scheme: str) -> None:
    page.prefer(scheme)
    waits = [server.send("PERMISSION"), server.send("SEVERAL")]
    shown, answered = server.send("STEPS"), server.send("PERMISSION")
    until(lambda: "input" in str(server.call("GetTask", {"id": answered})["status"]).lower(), "a task that waits")
    server.send("once", context={"taskId": answered})
    for path, seen in [
        ("waiting", "Colours"),
        ("tasks", "in all"),
        ("new", "Directory"),
        ("metrics", "whole turn"),
        (f"task/{shown}", AFTER_TOOL),
        (f"task/{waits[0]}", "waits for an answer"),
        (f"task/{answered}", "allowed once by ada"),
    ]:
        page.run(f"location.hash = '#/{path}'")
        page.sees(seen)
        assert violations(page) == [], path
    for task in waits:
        server.call("CancelTask", {"id": task})


def test_a_telephone_shows_all_of_it(person: Person, server: Server) -> None:
    page = logged_in(person, server, width=360)
    page.resize(360, 740, is_mobile=True)
    task = server.send("HOSTILE")
    for path, seen in [
        ("waiting", "U+202E"),
        ("tasks", "in all"),
        ("new", "Directory"),
        ("metrics", "whole turn"),
        (f"task/{task}", "U+202E"),
    ]:
        page.run(f"location.hash = '#/{path}'")
        page.sees(seen)
        assert page.run("document.documentElement.scrollWidth") <= 360, path
    server.call("CancelTask", {"id": task})
