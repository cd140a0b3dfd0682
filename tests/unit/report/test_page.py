"""The page holds itself together, and shows any text as it is."""

import re
from collections import Counter
from html.parser import HTMLParser

from malmoi.facts import Judged, Note, Ranked, Section
from malmoi.report.page import render
from malmoi.workspace.folder import Workspace
from tests.unit.report.finished_recipe import BARE, KOREAN, NASTY, page_of


def test_page_is_whole_and_asks_nothing_of_the_network(whole: Workspace) -> None:
    page = page_of(whole)
    assert not re.search(r"https?:|<script|<link|<img|@import|url\((?!#)|\ssrc=", page)
    open_tags: list[str] = []
    ids: Counter[str] = Counter()

    class Check(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            ids.update(value or "" for name, value in attrs if name == "id")
            if tag not in ("meta", "br"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Check().feed(page)
    assert open_tags == []
    assert max(ids.values()) == 1
    referred = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert referred <= set(ids)


def test_page_shows_text_of_any_kind_as_it_is(whole: Workspace) -> None:
    page = page_of(whole)
    assert page.count(KOREAN) == 2  # a demonstration and a sample
    assert "&lt;/td&gt;&lt;script&gt;alert" in page
    assert "costs $5 and $6" in page
    assert "GPT-2 3.900" in page
    assert page.count("simulated labeler") > 5
    assert not re.search(r"(?<!simulated )labeler(?!_)", page.replace("labeler.json", ""))


def test_the_contents_lead_to_every_heading_and_the_talk_is_a_command(whole: Workspace) -> None:
    page = page_of(whole)
    contents = page[page.index('<nav class="contents"') : page.index("</nav>")]
    assert re.findall(r'href="#([^"]+)"', contents) == re.findall(r'<h2 id="([^"]+)"', page)
    assert re.findall(r">([^<]+)</a>", contents) == re.findall(r"<h2[^>]*>([^<]+)</h2>", page)
    assert "malmoi chat ppo --workspace workspace" in page or "malmoi chat ppo --workspace whole" in page


def test_the_first_screen_is_what_a_stage_says_it_is(workspace: Workspace) -> None:
    asked = [{"role": "user", "content": KOREAN}]
    blocks = [Judged(asked, NASTY, True, "because <it> is"), Judged(asked, "", False), Note("not chosen")]
    opening = Section("What people ask", "Asked by people.", blocks)
    page = render(BARE, ["a", "b"], {}, {}, {}, [], [opening], "malmoi chat it")
    assert page.index("What people ask") < page.index('<div class="cards">')
    first = page[page.index('<section class="opening">') : page.index("</section>")]
    assert first.count(KOREAN) == 2 and "✓ right" in first and "✗ wrong" in first and "(nothing)" in first
    assert "because &lt;it&gt; is" in first and "&lt;script&gt;" in first and "malmoi chat it" in page


def test_a_ranking_is_shown_with_its_scores() -> None:
    ranked = Ranked([(1, "good"), (2, "bad")], [0.91234, 0.2])
    page = render(BARE, ["a", "b"], {}, {}, {}, [], [Section("A", blocks=[ranked])])
    assert 'good</td><td class="number">0.912<' in page and 'bad</td><td class="number">0.200<' in page
