from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_tools.sharegpt.markup import to_markdown
from fluxperf_tools.sharegpt.tree import DEEPEST, Node, parse_html

CODE = (
    '<pre><div class="bg-black rounded-md mb-4"><div class="flex items-center relative text-gray-200">'
    '<span>python</span><button class="flex ml-auto gap-2"><svg><path d="M1"></path></svg>Copy code</button></div>'
    '<div class="p-4 overflow-y-auto"><code class="!whitespace-pre hljs language-python">'
    '<span class="hljs-keyword">if</span> a &lt; b:\n    <span class="hljs-built_in">print</span>(<span '
    'class="hljs-string">"&lt;div&gt;"</span>)\n</code></div></div></pre>'
)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>One.</p><p>Two<br>lines</p>", "One.\n\nTwo\nlines"),
        ("<p><strong>Bold</strong>, <em>thin</em> and <code>a &lt; b</code></p>", "**Bold**, *thin* and `a < b`"),
        ("<p>spaces<strong> inside </strong>marks</p>", "spaces **inside** marks"),
        ("<p><code>a`b``c</code> <code>`</code></p>", "```a`b``c``` `` ` ``"),
        ("<h2>Title</h2><p>Text</p><hr><h3></h3>", "## Title\n\nText\n\n---"),
        (CODE, '```python\nif a < b:\n    print("<div>")\n```'),
        ("<pre><code>```\nx\n```</code></pre>", "````\n```\nx\n```\n````"),
        ("<pre>no code element</pre>", "```\nno code element\n```"),
        (CODE.replace(" language-python", "").replace("<span>python", "<span>c++"), None),
        ("<ol><li>One</li><li><p>Two</p><ul><li>a</li><li>b</li></ul></li></ol>", "1. One\n2. Two\n   - a\n   - b"),
        ('<ol start="3"><li>Three</li></ol><p>after</p>', "3. Three\n\nafter"),
        ("<ul><li><p>a</p>" + CODE + "</li></ul>", None),
        ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b"),
        (
            "<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td>1</td><td>x|y</td></tr><tr><td>2</td>"
            "</tr></tbody></table>",
            "| A | B |\n| --- | --- |\n| 1 | x\\|y |\n| 2 |  |",
        ),
        ('<p>See <a href="https://x.y/?a&amp;b">this</a>, <a href="u">u</a>.</p>', "See [this](https://x.y/?a&b), u."),
        ('<p><img src="i.png" alt="pic"><img></p>', "![pic](i.png)"),
        (
            '<p><span class="math math-inline"><span class="katex"><span class="katex-mathml"><math><semantics><mrow>'
            '<mi>x</mi></mrow><annotation encoding="application/x-tex">x^2</annotation></semantics></math></span>'
            '<span class="katex-html">x2</span></span></span></p>',
            "$x^2$",
        ),
        ("<p>a List<String> and <T></T></p>", "a List<String> and <T></T>"),
        ("<p>x<!-- --> y</p><!-- z -->", "x y"),
        ("cut <stro", "cut <stro"),
        ("<p>a</div></em>b", "ab"),
        ("", ""),
    ],
)
def test_html_becomes_markdown(html: str, expected: str | None) -> None:
    found = to_markdown(html)
    if expected is None:
        assert "Copy code" not in found
        assert 'print("<div>")' in found
        assert found.count("```") == 2
    else:
        assert found == expected


def test_the_language_is_told_by_the_headline_if_not_by_the_class() -> None:
    assert to_markdown(CODE.replace(" language-python", "").replace("<span>python", "<span>c++")).startswith("```c++\n")


@given(st.text(alphabet='<>/ "=abpredivulcotst&;!-`\n'))
def test_anything_is_taken(html: str) -> None:
    to_markdown(html)


def test_depth_is_bounded() -> None:
    found = to_markdown("<ul><li><blockquote><div>" * 20_000 + "x")
    assert found.endswith("x")
    assert len(found) < 3 * DEEPEST


def test_a_tag_in_a_quoted_attribute_is_no_tag() -> None:
    assert parse_html("<a title=\"<b> > c\" href='d'>e</a>").children == [
        Node("a", {"title": "<b> > c", "href": "d"}, ["e"])
    ]
