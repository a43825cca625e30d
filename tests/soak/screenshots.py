"""Screenshots of the documentation: python -m tests.soak.screenshots STUDY docs/pictures

STUDY is a listening test with votes and a report, as docs/listening-test/run.md describes.
"""

import sys
import tempfile
from pathlib import Path

from tests.web.studies import TOKEN, browsing, serving, serving_study

from samplewise.web.listening.study import open_study
from samplewise.web.studio.library import Library
from samplewise.web.studio.routes import Studio, create_studio
from samplewise.web.studio.takes import Takes
from samplewise.web.studio.training import Trainer

SIZES = {"desktop": (1180, 860), "phone": (390, 800)}


def open_page(browser, size, scheme):
    """Return a page of a size and a colour scheme."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        has_touch=size == "phone",
        device_scale_factor=1,
    )
    return context.new_page()


def listening(browser, study, folder, size, scheme):
    """Picture the first pair of a test while B plays."""
    page = open_page(browser, size, scheme)
    with serving_study(study) as (url, _):
        page.goto(f"{url}/?token={TOKEN}")
        page.locator("#agree").check()
        page.locator("#begin").click()
        page.locator("#skip").click()
        for key in "ab":
            page.locator(".heard", has_text="not heard yet").first.wait_for()
            page.keyboard.press(key)
            page.keyboard.press("r")
            page.wait_for_timeout(1600)
        page.screenshot(path=folder / f"listening-{size}-{scheme}.png")
    page.context.close()


def report(browser, study, folder, scheme):
    """Picture the top of a report."""
    page = open_page(browser, "desktop", scheme)
    page.goto((study.folder / "report.html").resolve().as_uri())
    page.screenshot(path=folder / f"report-{scheme}.png")
    page.context.close()


def play(browser, folder, size, scheme):
    """Picture the studio with two takes while a third is drawn."""
    with tempfile.TemporaryDirectory() as takes:
        studio = Studio(Library([], 1), Takes(Path(takes)), Trainer([], Path("runs")))
        with serving(create_studio(studio, TOKEN)) as url:
            page = open_page(browser, size, scheme)
            page.goto(f"{url}/?token={TOKEN}")
            page.locator("#model option", has_text="piano").wait_for(state="attached")
            for number, model in enumerate(("voice", "piano")):
                page.locator("#model").select_option(model)
                page.locator("#seconds").fill("5")
                page.locator("#seed").fill("2")
                page.locator("#go").click()
                page.locator(".take").nth(number).wait_for(timeout=60_000)
            page.locator("#seconds").fill("8")
            page.locator("#seed").fill("1")
            page.locator("#temperature").fill("0.95")
            page.locator("#go").click()
            page.get_by_text("6.").first.wait_for(timeout=60_000)
            page.wait_for_timeout(3000)
            page.screenshot(path=folder / f"studio-{size}-{scheme}.png")
            page.context.close()
        studio.close()


def main():
    """Write all pictures."""
    study, folder = open_study(Path(sys.argv[1])), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with browsing() as browser:
        report(browser, study, folder, "light")
        report(browser, study, folder, "dark")
        for size, scheme in (("desktop", "light"), ("phone", "dark")):
            play(browser, folder, size, scheme)
        for size, scheme in (
            ("desktop", "light"),
            ("desktop", "dark"),
            ("phone", "light"),
            ("phone", "dark"),
        ):
            listening(browser, study, folder, size, scheme)


if __name__ == "__main__":
    main()
