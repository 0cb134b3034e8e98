"""The report in headless Chromium: from disk, by keyboard, in light and dark, on paper."""

from __future__ import annotations

import base64
import json
import shutil

import pytest

from star_mlx.report import write_report as report

pytest.importorskip("matplotlib")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="chromium and chromedriver are missing (apt-get install chromium chromium-driver)",
    ),
]


@pytest.fixture
def pages(reports):
    """The address of the page of two runs, and of the hostile run."""
    return {name: (reports.pages / name / "index.html").as_uri() for name in ("two", "evil")}


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, pages):
    """Opens a page afresh, 1200 pixels wide, on a light screen."""

    def open_(name="two", width=1200, scheme="light", media="screen"):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        shown(browser, scheme, media)
        browser.get("about:blank")
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(pages[name])
        WebDriverWait(browser, 60).until(  # on a busy machine `get` may be back before
            lambda b: (
                b.execute_script("return document.readyState + location.href")
                == f"complete{pages[name]}"
            )
        )
        return browser

    return open_


def shown(browser, scheme, media):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def requests(browser):
    """The addresses asked for, and those of them that the page's policy kept from being sent."""
    messages = [json.loads(row["message"])["message"] for row in browser.get_log("performance")]
    asked = {
        m["params"]["requestId"]: m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    }
    blocked = [
        asked[m["params"]["requestId"]]
        for m in messages
        if m["method"] == "Network.loadingFailed" and m["params"].get("blockedReason") == "csp"
    ]
    return [url for url in asked.values() if not url.startswith("data:")], blocked


def items(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#list > li")


def headings(browser):
    return [item.find_element(By.TAG_NAME, "h3").text for item in items(browser)]


def choose(browser, name, text):
    Select(browser.find_element(By.NAME, name)).select_by_visible_text(text)


def counted(browser):
    """How many attempts match, of how many, and how many are shown."""
    words = browser.find_element(By.ID, "count").text.split()
    return int(words[0]), int(words[2]), int(words[5])


@pytest.mark.parametrize("name", ["two", "evil"])
def test_the_page_opens_from_disk_without_an_error_or_a_request(opened, pages, name):
    browser = opened(name)
    assert len(items(browser)) == 25
    for fold in browser.find_elements(By.CSS_SELECTOR, "#list summary")[:5]:
        fold.click()
    assert browser.get_log("browser") == []
    assert requests(browser) == ([pages[name]], [])


def test_every_picture_is_drawn_and_wide_enough_to_read(opened):
    browser = opened()
    charts = browser.find_elements(By.CSS_SELECTOR, "figure svg")
    assert len(charts) == 2 * len(report.CHARTS)
    assert len([chart for chart in charts if chart.is_displayed()]) == len(report.CHARTS) - 3
    browser.find_element(By.CSS_SELECTOR, "#details summary").click()
    shown = [chart for chart in charts if chart.is_displayed()]
    assert len(shown) == len(report.CHARTS)
    assert all(chart.size["width"] > 600 and chart.size["height"] > 200 for chart in shown)
    assert all(chart.accessible_name for chart in shown)


def test_on_a_phone_panels_stack_and_letters_can_be_read(opened):
    browser = opened(width=390)
    browser.find_element(By.CSS_SELECTOR, "#details summary").click()
    charts = browser.find_elements(By.CSS_SELECTOR, "figure svg")
    shown = [chart for chart in charts if chart.is_displayed()]
    assert len(shown) == len(report.CHARTS)
    for chart in shown:
        assert 330 < chart.size["width"] <= 390
        drawn = float(
            chart.get_dom_attribute("viewBox").split()[2]
        )  # points, letters are 10 of them
        assert 10 * chart.size["width"] / drawn > 10
    by_name = {name: chart for name, chart in zip(report.CHARTS, shown, strict=True)}
    assert by_name["classes"].size["height"] > 1.2 * by_name["classes"].size["width"]


def test_the_page_opens_with_the_verdict_and_ends_with_closed_details(opened):
    browser = opened()
    sections = [s.get_attribute("id") for s in browser.find_elements(By.CSS_SELECTOR, "section")]
    assert sections == [
        "verdict", "problem", "findings", "iterations", "samples", "details", "recipe",
    ]  # fmt: skip
    first = browser.find_element(By.CSS_SELECTOR, "#verdict .first").text
    assert first.startswith("Training helped: iteration 1 answers 100.0%")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#verdict figure")) == 1
    assert len(browser.find_elements(By.CSS_SELECTOR, "#problem .trace > li")) == 7
    gradients = browser.find_element(By.XPATH, "//h3[.='Gradient norm']")
    assert not gradients.is_displayed()


def test_filters_narrow_the_list_and_the_count_says_so(opened):
    browser = opened()
    everything, of, now = counted(browser)
    assert everything == of > now == 25
    choose(browser, "kind", "wrong")
    wrong = counted(browser)
    assert 0 < wrong[0] < of and wrong[1] == of
    assert all(text.startswith("wrong: ") for text in headings(browser))
    choose(browser, "iteration", "1")
    choose(browser, "split", "train")
    assert all(text == "wrong: iteration 1, train, without hint" for text in headings(browser))
    assert 0 < counted(browser)[0] < wrong[0]
    choose(browser, "kind", "all")
    choose(browser, "hinted", "with hint")
    assert set(headings(browser)) == {"right: iteration 1, train, with hint"}
    choose(browser, "group", "3")
    hinted = counted(browser)[0]
    assert 0 < hinted <= 16
    choose(browser, "run", "without rationalization (without)")
    assert counted(browser)[0] == 0 and items(browser) == []
    browser.find_element(By.CSS_SELECTOR, "#filters button").click()
    assert counted(browser) == (everything, of, 25)


def test_text_is_searched_in_questions_and_completions(opened):
    browser = opened("evil")
    search = browser.find_element(By.NAME, "text")
    search.send_keys("THE HINT SAYS SO")
    found = counted(browser)
    assert 0 < found[0] < found[1]
    assert all("The hint says so" in item.text for item in items(browser))
    search.send_keys(" nowhere")
    assert counted(browser)[0] == 0
    status = browser.find_element(By.ID, "count")
    assert status.get_attribute("aria-live") == "polite"


def test_more_are_shown_when_asked_and_the_first_of_them_is_focused(opened):
    browser = opened()
    browser.find_element(By.ID, "more").click()
    assert counted(browser)[2] == len(items(browser)) == 50
    assert browser.switch_to.active_element == items(browser)[25]
    choose(browser, "kind", "wrong")
    choose(browser, "iteration", "1")
    while browser.find_element(By.ID, "more").is_displayed():
        browser.find_element(By.ID, "more").click()
    assert counted(browser)[0] == counted(browser)[2] == len(items(browser))


def test_a_hinted_attempt_is_compared_with_the_direct_one(opened):
    browser = opened("evil")
    choose(browser, "hinted", "with hint")
    folds = browser.find_elements(By.CSS_SELECTOR, "#list details")
    fold = next(f for f in folds if "the attempt without hint" in f.text)
    fold.find_element(By.TAG_NAME, "summary").click()
    WebDriverWait(browser, 60).until(lambda b: fold.find_elements(By.TAG_NAME, "pre"))  # drawn late
    removed = fold.find_elements(By.TAG_NAME, "del")
    added = fold.find_elements(By.TAG_NAME, "ins")
    assert removed and added
    whole = fold.find_element(By.TAG_NAME, "pre").get_property("textContent")
    assert "[removed: " in whole and "[added: " in whole, "said, not only coloured"
    item = fold.find_element(By.XPATH, "./..")
    text = item.find_element(By.CSS_SELECTOR, "pre").get_property("textContent")
    new = browser.execute_script(
        "const copy = arguments[0].cloneNode(true);"
        "copy.querySelectorAll('del, .hidden-text').forEach((e) => e.remove());"
        "return copy.textContent",
        fold.find_element(By.TAG_NAME, "pre"),
    )
    assert new == text


def test_everything_can_be_reached_and_used_by_keyboard(opened):
    browser = opened()
    seen = []
    for _ in range(120):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        seen.append(
            active.get_attribute("name") or active.get_attribute("class") or active.tag_name
        )
        if seen[-1] == "text":
            break
    assert seen[0] == "skip"
    filters = [name for name in seen if name in ("run", "iteration", "split", "kind", "hinted")]
    assert filters == ["run", "iteration", "split", "kind", "hinted"]
    assert "summary" in seen and "scroll" in seen
    browser.switch_to.active_element.send_keys("zzzz")
    assert counted(browser)[0] == 0
    outline = browser.switch_to.active_element.value_of_css_property("outline-style")
    assert outline != "none"


def test_every_control_has_a_name(opened):
    browser = opened()
    controls = browser.find_elements(
        By.CSS_SELECTOR, "select, input, button, summary, [tabindex='0']"
    )
    visible = [control for control in controls if control.is_displayed()]
    assert len(visible) > 20 and all(control.accessible_name for control in visible)


def test_hostile_text_is_text(opened):
    browser = opened("evil")
    while browser.find_element(By.ID, "more").is_displayed():
        browser.find_element(By.ID, "more").click()
    text = browser.find_element(By.ID, "list").get_property("textContent")
    assert "<script>alert(1)</script>" in text and "<img src=x onerror=alert(1)>" in text
    assert "\\u202e" in text and "\u202e" not in text and "\u241b[31m" in text
    assert browser.execute_script("return document.scripts.length") == 2
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main b, main script") == []
    assert browser.get_log("browser") == [] and len(requests(browser)[0]) == 1


def test_the_policy_blocks_what_is_put_into_the_page(opened, pages):
    browser = opened()
    browser.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'document.title = `harmed`';"
        "document.body.append(script);"
        "const holder = document.createElement('div');"
        'holder.innerHTML = \'<img src="http://192.0.2.1/x.png" onerror="document.title=`harmed`">'
        '<p id=styled style="color: rgb(1, 2, 3)">x</p>\';'
        "document.body.append(holder);"
    )
    refused = [row["message"] for row in browser.get_log("browser")]
    assert any("script" in message and "Content Security Policy" in message for message in refused)
    assert browser.title.startswith("star-mlx report")
    colour = browser.find_element(By.ID, "styled").value_of_css_property("color")
    assert "1, 2, 3" not in colour
    outside = "http://192.0.2.1/x.png"
    assert requests(browser) == ([pages["two"], outside], [outside])


def test_light_and_dark_differ_in_the_charts_too(opened):
    looks = {}
    for scheme in ("light", "dark"):
        browser = opened(scheme=scheme)
        body = browser.find_element(By.TAG_NAME, "body")
        chart = browser.find_element(By.CSS_SELECTOR, "figure svg")
        inked = chart.find_element(By.CSS_SELECTOR, "[fill=currentColor]")
        ground = body.value_of_css_property("background-color")
        looks[scheme] = ground, inked.value_of_css_property("fill"), chart.screenshot_as_png
    assert all(a != b for a, b in zip(looks["light"], looks["dark"], strict=True))


@pytest.mark.parametrize("name", ["two", "evil"])
def test_a_narrow_screen_is_not_scrolled_sideways(opened, name):
    browser = opened(name, width=390)
    width = "return document.documentElement.scrollWidth"
    assert browser.execute_script(width) <= 390
    for fold in browser.find_elements(By.CSS_SELECTOR, "details"):
        browser.execute_script("arguments[0].open = true", fold)
    assert browser.execute_script(width) <= 390


def test_on_paper_there_are_the_tables_and_not_the_samples(opened):
    browser = opened()
    folds = "return [...document.querySelectorAll('main details')].filter((d) => d.open).length"
    assert browser.execute_script(folds) == 0
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(folds) >= len(report.CHARTS)
    shown(browser, "dark", "print")
    assert not browser.find_element(By.ID, "filters").is_displayed()
    assert not browser.find_element(By.ID, "list").is_displayed()
    assert browser.find_element(By.CLASS_NAME, "print-only").is_displayed()
    body = browser.find_element(By.TAG_NAME, "body")
    assert "255, 255, 255" in body.value_of_css_property("background-color"), "also when dark"
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script(folds) == 0
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(pdf).startswith(b"%PDF")
