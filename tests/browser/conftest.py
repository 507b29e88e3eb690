"""A headless Chromium, Debian's, driven by Selenium; tests are skipped where one of them is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.page import Page

PATIENCE_S = 60
# The browser has a hint for those who look at pixels, as the tests do.
_OF_OUR_LOOKING = "willReadFrequently"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The driver of one browser for all tests."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    for name, path in programs.items():
        if path is None:
            pytest.skip(f"{name} is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        # A mouse, which a machine without a screen has not got.
        "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs["chromedriver"]))
    driver.set_script_timeout(PATIENCE_S)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Page]]:
    """Opens a file in a window of a width in pixels, light or dark; of the `whole`, waits until every plot is drawn.

    Whatever the page asked of the network, or had to complain of, fails the test at its end.
    """
    chromium.get("about:blank")
    for kind in ("browser", "performance"):
        chromium.get_log(kind)

    def show(file: Path, *, width: int = 1280, dark: bool = False, whole: bool = False) -> Page:
        page = Page(chromium)
        page.resize(width)
        page.set_scheme("dark" if dark else "light")
        chromium.get(file.as_uri())
        page.wait("return document.documentElement.classList.contains('script')")
        if whole:
            page.wait("return document.documentElement.dataset.plots === 'drawn'")
        return page

    yield show
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    said = [entry["message"] for entry in chromium.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert [one for one in said if _OF_OUR_LOOKING not in one] == []
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "about:", "data:", "blob:"))] == []
