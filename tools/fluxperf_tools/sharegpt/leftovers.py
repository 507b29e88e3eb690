"""What scrapers left in the texts of the known dumps, taken out. It knows texts, one at a time, and who wrote them.

Each rule goes by a form that the dumps' tools left and that people do not write; where a text could
be somebody's own, it stays: a question about `<div>`, `a < b`, or half a cup (`1 / 2 cup`).
"""

from __future__ import annotations

import html
import re

from fluxperf_tools.sharegpt.markup import to_markdown

# The page of an answer as the browser writes it out: the whole of it, or what is left without its outermost element.
_ANSWER = re.compile(r'<div [^>]*class="(?=(?:[^"]* )?markdown[ "])(?=(?:[^"]* )?prose[ "])')
_QUESTION = re.compile(r'<div [^>]*class="(?=(?:[^"]* )?whitespace-pre-wrap[ "])(?=(?:[^"]* )?flex[ "])')
_INSIDE = re.compile(r'<code class="[^"]*\bhljs\b|<div class="bg-black [^"]*rounded-md|Copy code</button>')
_FRAGMENT = re.compile(r"<(?:p|pre|ol|ul|h[1-6]|table|blockquote|div)\b")
# Paragraphs and what markdown can become beside them, with no other attributes than the page's.
_PARAGRAPHS = re.compile(r"<p>.*</(?:p|pre|ol|ul|table|blockquote|h[1-6])>", re.DOTALL)
_RENDERED_TAG = re.compile(
    r"</?(?:p|pre|code|ol|ul|li|h[1-6]|table|thead|tbody|tr|td|th|blockquote|strong|em|del|a|span|div)"
    r'(?: (?:class|start|href|rel|target)="[^"]*")*>|<(?:br|hr) ?/?>'
)

_NO_TEXT = re.compile(
    r"(?:[\s\u00ad\u180e\u200b-\u200f\u2060\ufeff]++|&nbsp;|&#(?:160|8203|xa0|x200b);|<br ?/?>|</?p>)*+"
)
_EDGES = "\u200b\ufeff"  # a blinking cursor of the page, and a byte order mark
_UNSENDABLE = re.compile("\0|[\ud800-\udfff]")
_PAIRS = re.compile("[\ud800-\udbff][\udc00-\udfff]")

# The count of a regenerated message's versions, which the page shows before it: it sticks to the first word.
_PAGES = re.compile(
    r"(?P<at>[0-9]{1,3}) / (?P<of>[0-9]{1,3})"
    r"(?:(?=[A-Z][a-z]|I['\u2019 ])|(?P<wide>(?=[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])))"
)
# Buttons of browser extensions, the first one on a line of its own.
_BELOW = re.compile(r"(?:(?:(?<=\n)|\A)[ \t]*Share Prompt|Copy[0-9]{1,9} chars / [0-9]{1,9} words)\s{0,9}\Z")
_ABOVE = re.compile(r"[ \t]*Share Prompt[ \t]*(?:\n+|\Z)")
_LONGEST_BUTTON = 80  # characters
_WARNING = re.compile(
    r"This content may violate our content policy\."
    r"(?: If you believe this to be in error, please submit your feedback[^\n]*)?"
)
# The headline of a block of code, from a dump whose HTML was taken off without it.
_COPY_CODE = re.compile(
    r"^(?P<fence>[ \t]*`{3,})[ \t]*(?P<before>[\w+#.-]{0,20}?)[ \t]*\n?(?P<language>[\w+#.-]{0,20}?)"
    r"(?:Copy code)+(?=\S|[ \t]*\n)[ \t]*\n?",
    re.MULTILINE,
)

_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|nbsp|#39|#x27|#34|apos);")
_WITHIN_WORD = re.compile(r"\w&(?:#39|#x27|apos);\w")


def clean_text(text: str, is_answer: bool) -> str:
    """The text without what scrapers left; what is empty for people is an empty string.

    Cleaning it again changes nothing. A text without leftovers stays as it is, to the last space, but
    for NUL and half surrogate pairs, which cannot be sent: NUL goes, the others become U+FFFD.
    """
    text = make_sendable(text)
    while (cleaned := _clean_once(text, is_answer)) != text:
        text = cleaned
    return text


def has_markup(text: str, is_answer: bool) -> bool:
    """Whether the whole text is HTML of the page, by its form: not whether there are tags in it."""
    text = text.strip()
    if not text.startswith("<"):
        return False
    if _ANSWER.match(text) or _QUESTION.match(text):
        return is_answer or text.endswith("</div>")
    if not is_answer:
        return False
    if _FRAGMENT.match(text) and _INSIDE.search(text):
        return True
    return bool(_PARAGRAPHS.fullmatch(text)) and "```" not in text and "<" not in _RENDERED_TAG.sub("", text)


def is_blank(text: str) -> bool:
    """Whether there is nothing to be read in it: spaces of any kind, what has no width, and the HTML of such."""
    return bool(_NO_TEXT.fullmatch(text))


def make_sendable(text: str) -> str:
    """The text without NUL and half surrogate pairs."""
    if not _UNSENDABLE.search(text):
        return text
    paired = _PAIRS.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _UNSENDABLE.sub(lambda found: "" if found[0] == "\0" else "\ufffd", paired)


def _clean_once(text: str, is_answer: bool) -> str:
    if is_blank(text):
        return ""
    if has_markup(text, is_answer):
        text = make_sendable(to_markdown(text))
        if has_markup(text, is_answer):  # HTML that was written as text, in an answer about HTML, say
            text = f"```html\n{text}\n```"
    elif _is_escaped(text):
        text = html.unescape(text)
    text = _COPY_CODE.sub(lambda found: f"{found['fence']}{found['before'] or found['language']}\n", text).strip(_EDGES)
    return text if is_answer else _clean_question(text)


def _clean_question(text: str) -> str:
    pages = _PAGES.match(text)
    if pages and _counts_versions(pages):
        text = text[pages.end() :]
    text = _without_buttons(text)
    return "" if _WARNING.fullmatch(text.strip()) else text


def _counts_versions(pages: re.Match[str]) -> bool:
    """Whether it is a count, not a fraction. Before a script without capitals only the last of all versions is sure."""
    at, of = int(pages["at"]), int(pages["of"])
    return 1 <= at <= of and (pages["wide"] is None or at == of)


def _without_buttons(text: str) -> str:
    """The text without what stood on an extension's buttons below or above it."""
    end = len(text)
    while button := _BELOW.search(text, max(0, end - _LONGEST_BUTTON), end):
        end = len(text[: button.start()].rstrip())
    start = 0
    while button := _ABOVE.match(text, start, end):
        start = button.end()
    return text[start:end]


def _is_escaped(text: str) -> bool:
    """Whether a tool has escaped all of it: an apostrophe within a word as an entity, and nothing left bare."""
    return bool(_WITHIN_WORD.search(text)) and not re.search(r"[<>'\"]", text) and "&" not in _ENTITY.sub("", text)
