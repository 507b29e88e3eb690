from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_tools.sharegpt.leftovers import clean_text, has_markup, is_blank

PAGE = '<div class="markdown prose w-full break-words dark:prose-invert light">{}</div>'
WRITTEN_BY_PEOPLE = [
    "How do I centre a <div> in CSS?",
    '<div class="box">\n  <p>Hi</p>\n</div>\n\nWhy is this box not red?',
    '<div class="markdown-body prose"><p>Hi</p></div>',
    "```html\n<p>Hi<br></p>\n```",
    "if a < b and c > d: print('&lt;')",
    "What does &nbsp; or &#39; mean in HTML?",
    "vector<int> v; v.push_back(1 << 3);",
    "1 / 2 cup of sugar, how many grams?",
    "1 / 2x + 3 = 5",
    "3 / 2What is it",
    "1 / 2是多少",
    "What does the button Share Prompt do?",
    "The button says Copy code; how do I click it in Selenium?",
    "```\nls\n```\nCopy code to the server, and then?",
    "می\u200cخو and 👨\u200d👩\u200d👧 and a\u200bb",
    "  indented\n\tcode  \n",
    "What is 'This content may violate our content policy.'?",
    "R&D; AT&T, <3",
    "don&#39;t write <b>",
]


@pytest.mark.parametrize("text", [*WRITTEN_BY_PEOPLE, PAGE.format("<p>x</p>") + " is what ChatGPT shows; why?"])
def test_what_people_write_stays(text: str) -> None:
    assert clean_text(text, is_answer=False) == text


@pytest.mark.parametrize("text", [*WRITTEN_BY_PEOPLE, "<ul>\n<li>a list of HTML that was asked for</li>\n</ul>"])
def test_answers_that_are_no_page_stay(text: str) -> None:
    assert clean_text(text, is_answer=True) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 / 2Write a poem", "Write a poem"),
        ("1 / 1I'm lost", "I'm lost"),
        ("2 / 2写一首诗", "写一首诗"),
        ("Write a poem\n\nShare Prompt\n", "Write a poem"),
        ("Share Prompt\n\nWrite a poem", "Write a poem"),
        ("Write a poemCopy12 chars / 3 words", "Write a poem"),
        ("I don&#39;t see &lt;b&gt; &amp; co", "I don't see <b> & co"),
        ('<div class="min-h-[20px] flex flex-col items-start gap-4 whitespace-pre-wrap">a &lt; b</div>', "a < b"),
        ("\ufeffHello\u200b", "Hello"),
        ("a\0b\ud83d \ud83d\ude00", "ab\ufffd \U0001f600"),
        *((text, "") for text in ("", " \n\t", "\xa0", "\u200b\u200b", "&nbsp;", "<p><br></p>", "Share Prompt", "\0")),
        ("This content may violate our content policy. If you believe this to be in error, please submit.", None),
        ("This content may violate our content policy.", ""),
    ],
)
def test_leftovers_of_questions_go(text: str, expected: str | None) -> None:
    assert clean_text(text, is_answer=False) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PAGE.format("<p>Yes &amp; no</p>"), "Yes & no"),
        (PAGE.format("<p>\u200b</p>"), ""),
        (PAGE.format("<p>cut off")[:-6], "cut off"),
        ('<div class="result-streaming markdown prose"><p>x</p></div>', "x"),
        ('<pre><code class="hljs language-c">x</code></pre><p>y</p>', "```c\nx\n```\n\ny"),
        ("<p>One <strong>two</strong></p>\n<ul><li>three</li></ul>", "One **two**\n\n- three"),
        ("```\npythonCopy codeimport os\n```", "```python\nimport os\n```"),
        ("```python\nCopy code\nimport os\n```", "```python\nimport os\n```"),
        (
            PAGE.format("<p>" + html.escape(PAGE.format("<b>x</b>")) + "</p>"),
            f"```html\n{PAGE.format('<b>x</b>')}\n```",
        ),
    ],
)
def test_leftovers_of_answers_go(text: str, expected: str) -> None:
    assert clean_text(text, is_answer=True) == expected


fragments = st.sampled_from(
    [
        *('<div class="markdown prose">', "</div>", "<p>", "</p>", "<pre>", '<code class="hljs">', "</code>", "</pre>"),
        *("&lt;", "&amp;", "&#39;", "&nbsp;", "a&#39;b", "`", "```", "```\n", "Copy code", "python", "\n", " ", "<br>"),
        *("1 / 2", "A", "Ab", "Share Prompt", "Copy1 chars / 2 words", "\u200b", "\ufeff", "\0", "\ud83d", "是", "I "),
        *("This content may violate our content policy.", "<ul><li>", "</li></ul>", "<T>", "<!-- -->", "<", "&"),
        *('<div class="flex whitespace-pre-wrap">', "Copy code</button>", "<strong>", "</strong>"),
    ]
)
dirty = st.lists(st.one_of(fragments, st.text(max_size=3)), max_size=12).map("".join)


@given(dirty, st.booleans())
def test_cleaning_twice_is_cleaning_once(text: str, is_answer: bool) -> None:
    cleaned = clean_text(text, is_answer)
    assert clean_text(cleaned, is_answer) == cleaned
    assert cleaned == "" or not is_blank(cleaned)
    assert "\0" not in cleaned
    cleaned.encode()


@given(dirty.map(lambda text: PAGE.format(f"<p>{text}</p>")))
def test_a_page_leaves_none_of_its_form(text: str) -> None:
    cleaned = clean_text(text, is_answer=True)
    assert not has_markup(cleaned, is_answer=True)


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0<&\u200b\ufeff`")), st.booleans()
)
def test_a_text_without_markup_is_unchanged(text: str, is_answer: bool) -> None:
    if not is_blank(text):
        assert clean_text(text, is_answer) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_the_words_of_a_page_are_kept(text: str) -> None:
    text = f"x {text} y"
    assert clean_text(PAGE.format(f"<p>{html.escape(text)}</p>"), is_answer=True) == text


@pytest.mark.parametrize("is_answer", [False, True])
@pytest.mark.parametrize(
    "piece", ["\n", " ", "&nbsp;", "<!--", "<", "&", "</p", "<a href=", "\n Share Prompt", "```\n", "<p>", "\ud83d"]
)
def test_long_texts_of_one_piece_take_no_square_of_time(piece: str, is_answer: bool) -> None:
    """At a square of it this test would take hours."""
    clean_text('<div class="markdown prose">x' + piece * 50_000 + "x", is_answer)
    clean_text(piece * 50_000, is_answer)
