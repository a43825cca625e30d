"""The page of the listening test in a real browser, by keyboard."""

import pytest
from tests.web.studies import TOKEN, make_study, serving_study

from samplewise.web.listening.design import right_answers

HEADPHONES = "#headphones:not([hidden])"
TRIAL = "#trial:not([hidden])"


def begin(page, url, participant=""):
    page.goto(f"{url}/?token={TOKEN}" + (f"&participant={participant}" if participant else ""))
    page.locator("#welcome:not([hidden])").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(HEADPHONES).wait_for()


def pass_headphones(page):
    orders = page.request.get(page.url.partition("?")[0] + "api/session").json()["listener"][
        "tones"
    ]
    for order in orders:
        page.keyboard.press("Space")
        page.locator("[data-tone='0']:enabled").wait_for()
        page.keyboard.press(str(order.index("quiet") + 1))


def judge(page, slots, key):
    """Hear every clip, answer, go on."""
    page.locator(".heard", has_text="not heard yet").first.wait_for()
    for number, slot in enumerate(slots):
        page.keyboard.press(slot)
        page.keyboard.press("r")
        page.locator(f".tile:nth-child({number + 1}) .heard", has_text="heard").filter(
            has_not_text="not"
        ).wait_for()
    page.keyboard.press(key)
    page.keyboard.press("Enter")


def answer_key(study, trial, listener):
    """The key of the right answer, or of one that depends on the clips alone."""
    right = right_answers(study.plan, study.pool, trial)
    answers = {"ab": "a none b", "abx": "a b", "mos": "1 2 3 4 5", "cmos": "-3 -2 -1 0 1 2 3"}
    order = answers[study.plan.kind].split()
    if right:
        return str(order.index(sorted(right)[0]) + 1), sorted(right)[0]
    number = min(trial.clips, key=lambda clip: f"{listener}{clip}")
    wanted = trial.slots[trial.clips.index(number)]
    return str(order.index(wanted) + 1 if wanted in order else 2), wanted


def take(page, study, listener, numbers):
    """Answer trials by keyboard; return the answers that were meant."""
    meant = {}
    for number in numbers:
        trial = study.trials(listener)[number]
        words = "Practice" if number == 0 else f"{number} of {len(study.trials(listener)) - 1}"
        page.locator("#count", has_text=words).wait_for()
        key, meant[number] = answer_key(study, trial, listener)
        judge(page, trial.slots, key)
    return meant


@pytest.fixture
def page(browser):
    context = browser.new_context()
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    yield page
    context.close()
    assert not errors


@pytest.mark.slow
def test_a_whole_test_by_keyboard_with_a_reload_and_a_second_listener(page, browser, tmp_path):
    study = make_study(tmp_path / "study", trials=2)
    trials = len(study.trials(0))
    other = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True).new_page()
    with serving_study(study) as (url, store):
        begin(page, url, "p-17")
        pass_headphones(page)
        meant = take(page, study, 0, range(2))
        begin(other, url)
        other.locator("#skip").tap()
        page.locator("#count", has_text=f"2 of {trials - 1}").wait_for()
        page.reload()
        meant |= take(page, study, 0, range(2, trials))
        page.locator("#done:not([hidden])").wait_for()
        assert page.locator("#code").text_content() == store.listeners()[0].code
        assert store.answers(0) == meant
        assert [one.participant for one in store.listeners()] == ["p-17", ""]
        assert [one.headphones for one in store.listeners()] == [True, False]
        take(other, study, 1, [0])
        other.locator("#count", has_text=f"1 of {trials - 1}").wait_for()
        assert list(store.answers(1)) == [0]
        page.locator("#another").click()  # the next person at this computer
        begin_again = page.locator("#welcome:not([hidden])")
        begin_again.wait_for()
        assert page.locator("#begin").is_disabled()
    other.context.close()
    for vote in store.votes():
        assert min(vote.details["audible_ms"]) >= 1000 * study.seconds / 2


@pytest.mark.parametrize("kind", ["abx", "mos", "cmos"])
def test_the_other_kinds_of_test(kind, page, tmp_path):
    study = make_study(tmp_path / "study", kind=kind, trials=1, repeats=0)
    with serving_study(study) as (url, store):
        begin(page, url)
        page.locator("#skip").click()
        meant = take(page, study, 0, [0, 1])
        page.locator("#count", has_text="2 of 2").wait_for()
        assert {trial: store.answers(0)[trial] for trial in meant} == (
            meant if kind == "abx" else store.answers(0)
        )


def test_an_answer_survives_a_server_that_is_away(page, tmp_path):
    study = make_study(tmp_path / "study", trials=1, checks=0, repeats=0)
    with serving_study(study) as (url, store):
        begin(page, url)
        page.locator("#skip").click()
        page.locator("#count", has_text="Practice").wait_for()
        page.locator(".heard", has_text="not heard yet").first.wait_for()
        page.context.set_offline(True)
        key, _ = answer_key(study, study.trials(0)[0], 0)
        judge(page, "ab", key)
        page.get_by_text("cannot be reached").wait_for()
        page.context.set_offline(False)
        page.locator("#count", has_text="1 of 1").wait_for()
        assert list(store.answers(0)) == [0]
