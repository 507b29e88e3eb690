"""What comes from elsewhere is text, wherever it stands."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.report.html.markup import Html, element, escape, join, script_data


class Seen(HTMLParser):
    """The elements and the text that a browser would find."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Seen:
    seen = Seen()
    seen.feed(text)
    seen.close()
    return seen


@given(st.text(), st.text())
def test_any_text_stays_text_in_content_and_attributes(text: str, title: str) -> None:
    seen = read(element("p", text, title=title))
    assert [name for name, _ in seen.tags] == ["p"]
    shown = "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)
    assert seen.text == shown
    seen.text.encode()


def test_what_is_html_already_stays_as_it_is() -> None:
    inner = element("b", "x < y")
    assert element("p", inner, None, " & ", class_="a", hidden=True, id=None, data_x=3) == (
        '<p class="a" hidden data-x="3"><b>x &lt; y</b> &amp; </p>'
    )
    assert escape(Html("<br>")) == "<br>"
    assert element("br") == "<br>"
    assert join(["<", None, Html("<br>")], ", ") == "&lt;, <br>"


def test_signs_that_change_the_order_of_text_are_shown_as_unknown() -> None:
    assert escape("a\u202eb\x1b[31m") == "a\ufffdb\ufffd[31m"


@given(st.text())
def test_data_of_scripts_ends_no_script(text: str) -> None:
    assert "<" not in script_data(text)
