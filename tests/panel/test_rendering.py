"""Hostile text, cleaned: what a terminal, a markdown file, a diff or a source file could try on a page."""

from __future__ import annotations

import re
import runpy
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.template.loader import get_template
from hypothesis import given
from hypothesis import strategies as st

from orchestration.rendering.ansi import terminal_html
from orchestration.rendering.code import code_html, code_lines
from orchestration.rendering.diff import Diff, parse_diff
from orchestration.rendering.graph import MOST, Vertex, draw
from orchestration.rendering.markdown import markdown_html
from orchestration.rendering.text import clipped, one_line, visible
from orchestration.transcript import cards
from tests.support.world import EVIL

BASE = Path(__file__).resolve().parents[2]
EVILS = (
    *(EVIL, "<script>x</script>", "a\rb", "\0", "\ud800", "\udfff\ud800", "\u202e\u2066\u200f", "&lt;script&gt;"),
    *(
        "\x1b]0;title\x07",
        "\x1b]8;;javascript:alert(1)\x1b\\x\x1b]8;;\x1b\\",
        "\x1b]8;;http://e",
        "\x9d0;t\x9c",
        "\x1bP1$q\x1b\\",
    ),
    *("x" * 1_000_000, "\n" * 200_000, "\x1b[31m" * 50_000, "\ue000[31m<b>"),
    *("![i](http://e/i.png)", "[a](javascript:alert(1))", "[a](JaVaScRiPt&colon;alert(1))", "[a](data:text/html,x)"),
    *("[a]: javascript:alert(1)\n\n[a]", "<http://ok.example>", "<javascript:alert(1)>", "<a hx-get=/x>x</a>"),
    *("> " * 3000, "*a" * 20_000, "[" * 20_000, "# h1\n\n<h1>x</h1>", "| a |\n|-|\n| <img src=x> |"),
    "```html\n<script>x</script>\n```",
)
VISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def harmless(html: str, tags: set[str]) -> bool:
    for tag, attributes in Tags(html).found:
        assert tag in tags, tag
        assert set(attributes) <= {"class", "href", "title", "rel"}, attributes
        assert re.match(r"https?:|mailto:|[^:]*$", attributes.get("href") or ""), attributes
    assert not VISIBLE.search(html)
    html.encode()
    return True


PROSE = {
    *("p", "a", "code", "pre", "span", "strong", "em", "ul", "ol", "li", "blockquote", "br", "hr"),
    *("table", "thead", "tbody", "tr", "th", "td", "del", "s"),
}


@pytest.mark.parametrize("evil", EVILS, ids=lambda text: repr(text[:20]))
def test_a_terminal_shows_coloured_text_and_nothing_else(evil: str) -> None:
    assert harmless(terminal_html(evil), {"span"})


@pytest.mark.parametrize("evil", EVILS, ids=lambda text: repr(text[:20]))
def test_markdown_is_prose_and_nothing_else(evil: str) -> None:
    assert harmless(markdown_html(evil), PROSE)


@pytest.mark.parametrize("language", ["", "python", "html", "json", "no such language", "<script>"])
@pytest.mark.parametrize("evil", EVILS, ids=lambda text: repr(text[:20]))
def test_code_is_marked_text_and_nothing_else(evil: str, language: str) -> None:
    assert harmless(code_html(evil, language=language), {"span"})


@pytest.mark.parametrize("evil", EVILS, ids=lambda text: repr(text[:20]))
def test_a_hostile_patch_is_lines_or_raw_text(evil: str) -> None:
    line = evil.replace("\n", " ")[:100_000]
    head = "diff --git a/x b/x\n--- a/x\n+++ b/x.py\n@@ -1 +1 @@ "
    for patch in (
        evil,
        f"{head}{line}\n-{line}\n+{line}\n",
        f"--- {line[:300]}\n+++ {line[:300]}\n@@ -1 +1 @@\n-a\n+b\n",
    ):
        diff = parse_diff(patch)
        for file in diff.files:
            assert not VISIBLE.search(file.path + file.was)
            assert all(harmless(shown.html, {"span"}) for shown in file.lines)
        assert not VISIBLE.search(diff.raw)


@given(st.text(st.characters(codec=None), max_size=300))
def test_no_text_at_all_breaks_a_renderer(text: str) -> None:
    assert harmless(terminal_html(text), {"span"})
    assert harmless(markdown_html(text), PROSE)
    assert harmless(code_html(text, language="python"), {"span"})
    assert not VISIBLE.search(visible(text))
    parse_diff(text)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("10%\r50%\r100%\ndone\r\n", "100%\ndone\n"),
        ("\x1b[31;1mred\x1b[0m", '<span class="ansi1 ansi31">red</span>'),
        ("\x1b[38;5;208mx\x1b[48;2;1;2;3my", "xy"),
        ("\x1b[8mhidden\x1b[7mreverse\x1b[5mblink", "hiddenreverseblink"),
        ("\x1b]0;title\x07seen", "seen"),
        ("\x1b]8;;http://e\x07link\x1b]8;;\x07", "link"),
        ("\x1b[2J\x1b[1;1H\x1b[?25lx", "x"),
        ("N\bNA\bA", "NA"),
        ("a < b && c", "a &lt; b &amp;&amp; c"),
    ],
)
def test_a_terminal_shows_what_a_terminal_would(said: str, shown: str) -> None:
    assert terminal_html(said) == shown


def test_markdown_keeps_what_helps_to_read() -> None:
    html = markdown_html("# Big\n\n- **a** `b`\n\n```python\ndef f(): pass\n```\n\n[ok](https://example.org)")
    assert "<p><strong>Big</strong></p>" in html
    assert '<span class="k">def</span>' in html
    assert '<a href="https://example.org" rel="noopener noreferrer">ok</a>' in html


def test_a_long_output_is_shown_by_its_head_and_tail() -> None:
    text = "first\n" + "x\n" * 100_000 + "last"
    shown = terminal_html(text)
    assert shown.startswith("first")
    assert shown.endswith("last")
    assert len(shown) < 70_000
    assert clipped("abc", 3) == "abc"
    assert one_line(" a \n b ", 3) == "a b"


# ---- diffs

PATCH = """diff --git a/shop.py b/shop.py
index 1..2 100644
--- a/shop.py
+++ b/shop.py
@@ -1,3 +1,4 @@ def price():
 def price():
-    return 1
+    text = '''
+    return 2'''
     pass
diff --git a/new.txt b/new.txt
new file mode 100644
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+hello
\\ No newline at end of file
diff --git a/old.txt b/name.txt
similarity index 100%
rename from old.txt
rename to name.txt
diff --git a/i.png b/i.png
new file mode 100644
Binary files /dev/null and b/i.png differ
"""


def test_a_patch_is_files_with_numbered_lines() -> None:
    shop, new, renamed, image = parse_diff(PATCH).files
    assert [(line.kind, line.old, line.new) for line in shop.lines] == [
        *(("hunk", None, None), ("ctx", 1, 1), ("del", 2, None), ("add", None, 2), ("add", None, 3), ("ctx", 3, 4))
    ]
    assert (shop.added, shop.removed, shop.what) == (2, 1, "")
    assert '<span class="k">return</span>' in shop.lines[2].html
    assert "return" in shop.lines[4].html
    assert '<span class="k">' not in shop.lines[4].html, "it is inside a string over two lines"
    assert (new.path, new.what, new.lines[-1].kind) == ("new.txt", "new file", "hunk")
    assert (renamed.what, renamed.was, renamed.path) == ("renamed", "old.txt", "name.txt")
    assert (image.path, image.what, image.lines) == ("i.png", "binary", ())


def test_a_file_of_many_lines_is_shown_closed_and_a_huge_patch_is_cut_between_files() -> None:
    def file(name: str, lines: int) -> str:
        body = "".join(f"+line {n}\n" for n in range(lines))
        return f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{lines} @@\n{body}"

    small, large = parse_diff(file("a.py", 399) + file("b.py", 400)).files
    assert small.is_open
    assert not large.is_open, "400 lines and the hunk's head"
    huge = parse_diff("".join(file(f"{n}.txt", 9000) for n in range(12)))
    assert huge.cut
    assert 2 <= len(huge.files) < 12
    assert [f.left_out for f in huge.files[:3]] == [False, False, True]
    assert huge.raw == ""


@pytest.mark.parametrize("patch", ["no patch at all", "--- a\n+++ b\n@@ -1,9 +1,9 @@\n x\n", b"\xff\xfe\x00"])
def test_what_is_no_patch_is_shown_as_it_is(patch: str | bytes) -> None:
    diff = parse_diff(patch)
    assert diff.files == ()
    assert diff.raw


def test_an_empty_patch_is_an_empty_diff() -> None:
    assert parse_diff("") == Diff()


def test_code_has_a_piece_for_each_line() -> None:
    assert len(code_lines("a = '''\n\nb'''\n", "x.py")) == 4
    assert len(code_lines("<b>\n", "unknown.zzz")) == 2
    assert code_lines("<b>", "x") == ["&lt;b&gt;"]


def test_the_stylesheet_is_what_its_script_makes() -> None:
    made = runpy.run_path(str(BASE / "scripts" / "pygments_css.py"))["stylesheet"]()
    assert (BASE / "static" / "pygments.css").read_text() == made


# ---- the graph


def vertex(index: int, *after: int, status: str = "pending") -> Vertex:
    return Vertex(index, f"do {index}", status, "Pending", f"/s/{index}", after)


def test_a_step_stands_below_all_that_it_waits_for() -> None:
    graph = draw([vertex(1), vertex(2, 1), vertex(3, 1), vertex(4, 2, 3), vertex(5)])
    place = {node.index: (node.x, node.y) for node in graph.nodes}
    assert place[1][1] == place[5][1] < place[2][1] == place[3][1] < place[4][1]
    assert place[2][0] < place[3][0]
    assert len(graph.edges) == 4
    assert len(set(place.values())) == 5, "no box lies on another"
    assert all(node.x >= 0 and node.x + 184 <= graph.width for node in graph.nodes)
    assert all(node.y + 48 <= graph.height for node in graph.nodes)


def test_an_edge_says_how_far_the_work_is() -> None:
    graph = draw(
        [vertex(1, status="succeeded"), vertex(2, 1, status="running"), vertex(3, 1, status="succeeded"), vertex(4, 2)]
    )
    assert sorted(edge.kind for edge in graph.edges) == ["done", "live", "wait"]


def test_a_cycle_is_named_and_an_unknown_dependency_is_not_drawn() -> None:
    assert set(draw([vertex(1, 2), vertex(2, 1), vertex(3)]).cycle) == {1, 2}
    assert draw([vertex(1, 99)]).edges == ()
    assert draw([]).nodes == ()


def test_many_steps_are_drawn_and_too_many_are_a_list_only() -> None:
    assert len(draw([vertex(n, *([n - 1] if n else [])) for n in range(MOST)]).nodes) == MOST
    assert draw([vertex(n) for n in range(MOST + 1)]).too_many


def test_a_title_that_is_hostile_is_short_and_visible() -> None:
    node = draw([Vertex(1, EVIL, "pending")]).nodes[0]
    assert len(node.label) <= 23
    assert not VISIBLE.search(node.label + node.title)


# ---- the transcript and the templates


class Row:
    """A call as the journal may hold it."""

    def __init__(self, kind: str, request: object, answer: object) -> None:
        self.kind, self.request, self.answer, self.status = kind, request, answer, "done"


@pytest.mark.parametrize(
    "answer", [None, [], "x", {}, {"message": None}, {"message": {"content": None, "tool_calls": 7}}]
)
@pytest.mark.parametrize("request_", [None, [], {}, {"messages": 3}, {"messages": [None, 1, {"role": "user"}]}])
def test_a_journal_of_any_shape_is_cards(request_: object, answer: object) -> None:
    assert [card.kind for card in cards([Row("llm", request_, answer)])][-1] == "assistant"


def test_an_answer_that_is_json_is_shown_as_data() -> None:
    card = list(cards([Row("llm", {}, {"message": {"content": '{"steps": [1]}'}})]))[-1]
    assert (card.text, card.data) == ("", '{\n  "steps": [\n    1\n  ]\n}')


@pytest.mark.parametrize("path", sorted((BASE / "templates").rglob("*.html")), ids=lambda path: path.name)
def test_each_template_compiles_and_turns_no_escaping_off(path: Path) -> None:
    assert get_template(str(path.relative_to(BASE / "templates")))
    assert not re.search(r"\|\s*safe\b|autoescape off|\sstyle=|\son\w+=|<script>", path.read_text())
