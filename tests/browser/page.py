"""What tests ask of a page that is open in the browser. Selenium may be missing until they do."""

from __future__ import annotations

import base64
from typing import Any

PATIENCE_S = 60

_INSIDE = """
const inside = (node, found = []) => {
  for (const child of node.querySelectorAll("*")) {
    found.push(child);
    if (child.shadowRoot) inside(child.shadowRoot, found);
  }
  return found;
};
"""


class Page:
    """The page, as somebody with a mouse, a keyboard and eyes has it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def run(self, script: str, *arguments: Any) -> Any:
        """What the JavaScript returns; `inside(node)` has all elements within a node, also those in shadow trees."""
        return self.driver.execute_script(_INSIDE + script, *arguments)

    def wait(self, script: str, *arguments: Any) -> Any:
        """Waits until it returns something true."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.05).until(lambda _: self.run(script, *arguments))

    def resize(self, width: int, height: int = 900) -> None:
        """The window's size in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def set_scheme(self, scheme: str) -> None:
        """Whether the system is light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    @property
    def plots(self) -> list[str]:
        """The titles of all plots."""
        found: list[str] = self.run("return [...document.querySelectorAll('.canvas')].map(one => one.dataset.title)")
        return found

    def show(self, title: str) -> Any:
        """Scrolls to the plot, waits until it is drawn, and returns its place."""
        find = (
            "const place = [...document.querySelectorAll('.canvas')].find((one) => one.dataset.title === arguments[0]);"
        )
        place = self.run(
            f"{find} place.scrollIntoView({{ block: 'center', behavior: 'instant' }}); return place;", title
        )
        self.wait("return arguments[0].dataset.drawn", place)
        return place

    def colours(self, title: str) -> set[str]:
        """The colours that a plot is painted in, nearly transparent ones left aside."""
        place = self.show(title)
        found: list[str] = self.wait(
            """
            const colours = new Set();
            for (const canvas of inside(arguments[0]).filter((one) => one.tagName === "CANVAS")) {
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              for (let at = 0; at < data.length; at += 4) {
                if (data[at + 3] > 64) colours.add("#" + [0, 1, 2].map(
                  (one) => data[at + one].toString(16).padStart(2, "0")).join(""));
              }
            }
            return colours.size ? [...colours] : null; // not painted yet
            """,
            place,
        )
        return set(found)

    def shows(self, title: str, colour: str) -> bool:
        """Whether a plot has the colour on it; what is half transparent is known to within a step or two."""
        wanted = bytes.fromhex(colour[1:])
        painted = (bytes.fromhex(found[1:]) for found in self.colours(title))
        return any(max(abs(one - other) for one, other in zip(wanted, found, strict=True)) <= 3 for found in painted)

    def hover(self, title: str, across: float, down: float) -> str:
        """Moves the mouse to a place on a plot, as shares of its size; returns what is shown there."""
        from selenium.webdriver.common.action_chains import ActionChains

        place = self.show(title)
        x, y = round(place.size["width"] * (across - 0.5)), round(place.size["height"] * (down - 0.5))
        for nudge in (2, 1, 0):
            ActionChains(self.driver).move_to_element_with_offset(place, x + nudge, y).perform()
        shown: str = self.wait(
            """
            const boxes = [...document.querySelectorAll(".bk-Tooltip")].filter((box) => box.checkVisibility());
            return boxes.flatMap((box) => [...box.shadowRoot.querySelectorAll(".bk-tooltip-content")])
              .map((one) => one.innerText).join(" ").replace(/\\s+/g, " ");
            """
        )
        return shown

    def column(self, key: str) -> list[str]:
        """The values of a column of the table of rounds, from top to bottom."""
        found: list[str] = self.run(
            """
            const heading = document.querySelector(`#table-rounds th[data-key="${arguments[0]}"]`);
            return [...document.querySelectorAll("#table-rounds tbody tr")]
              .map((row) => row.cells[heading.cellIndex]).map((cell) => cell.dataset.value ?? cell.textContent);
            """,
            key,
        )
        return found

    def clipboard(self) -> str:
        """What was copied."""
        self.driver.execute_cdp_cmd(
            "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        )
        found: str = self.driver.execute_async_script(
            "const done = arguments[0]; navigator.clipboard.readText().then(done, (error) => done(String(error)))"
        )
        return found

    def print(self) -> bytes:
        """The page on paper, as PDF."""
        return base64.b64decode(self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
