"""Chat, as a person uses it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

OpenPage = Callable[..., Any]

QUESTION = "At what temperature is green tea steeped?"


def ask(page: Any, text: str) -> None:
    n_before = page.locator(".answer").count()
    page.get_by_role("textbox", name="Message").fill(text)
    page.get_by_role("button", name="Send", exact=True).click()
    page.locator(".answer").nth(n_before).wait_for()
    finish(page)


def finish(page: Any) -> None:
    """Until nothing is being written."""
    page.locator(".answer[aria-busy]").wait_for(state="detached")
    page.get_by_role("button", name="Send", exact=True).wait_for()


def act(page: Any, name: str) -> Any:
    return page.locator(".answer").last.get_by_role("button", name=name, exact=True)


def test_an_answer_shows_the_sentence_that_it_comes_from(open_page: OpenPage) -> None:
    page = open_page("/chat")
    ask(page, QUESTION)
    answer = page.locator(".answer")
    assert "70 to 80 degrees" in answer.locator(".markdown").first.inner_text()
    source = answer.get_by_role("button", name="tea.md")
    assert page.locator("mark").count() == 0
    source.click()
    assert page.locator("mark").inner_text() == "Green tea is steeped at 70 to 80 degrees."
    assert "/chat/" in page.url
    page.reload()
    page.locator(".answer .sources").wait_for()
    assert page.locator(".question .said").all_text_contents() == [QUESTION]


def test_again_and_edit_make_branches_that_one_can_page_through(open_page: OpenPage) -> None:
    page = open_page("/chat")
    ask(page, QUESTION)
    act(page, "Again").click()
    page.locator(".answer .pager", has_text="2/2").wait_for()
    finish(page)
    page.locator(".answer").get_by_role("button", name="Previous alternative").click()
    page.locator(".answer .pager", has_text="1/2").wait_for()

    page.get_by_role("textbox", name="Message").press("ArrowUp")
    editor = page.locator(".question").get_by_role("textbox", name="Edit")
    assert editor.input_value() == QUESTION
    editor.fill("When does the library open?")
    page.locator(".question").get_by_role("button", name="Send").click()
    page.locator(".question .pager", has_text="2/2").wait_for()
    finish(page)
    assert "nine" in page.locator(".answer .markdown").first.inner_text()
    page.reload()
    page.locator(".question .pager", has_text="2/2").wait_for()
    page.locator(".question").get_by_role("button", name="Previous alternative").click()
    page.locator(".answer .pager", has_text="2/2").wait_for()
    assert page.locator(".question .said").all_text_contents() == [QUESTION]


def test_history_is_searched_renamed_and_deleted(open_page: OpenPage) -> None:
    page = open_page("/chat")
    ask(page, "When does the library open?")
    entry = page.locator(".chats .here")
    entry.get_by_role("button").click()
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Zebra crossing")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Zebra crossing").wait_for()

    page.keyboard.press("Control+k")
    page.keyboard.type("zebra")
    page.locator(".chats > li").nth(1).wait_for(state="detached")
    assert page.locator(".chats > li a").first.inner_text().startswith("Zebra crossing")
    page.keyboard.press("Control+a")
    page.keyboard.type("no chat says this")
    page.get_by_text("Nothing found.").wait_for()
    page.get_by_role("searchbox").fill("")

    page.locator(".chats .here").get_by_role("button").click()
    page.locator(".menu").get_by_role("button", name="Delete").click()
    with page.expect_response(lambda one: one.request.method == "DELETE"):  # a reload would take it back
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("link", name="Zebra crossing").wait_for(state="detached")
    page.reload()
    page.get_by_role("searchbox").fill("zebra")
    page.get_by_text("Nothing found.").wait_for()


def test_settings_and_consent_are_kept(open_page: OpenPage) -> None:
    page = open_page("/chat")
    consent = page.get_by_role("switch", name="May teach the assistant")
    before = consent.get_attribute("aria-checked")
    consent.click()
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_label("Instruction").fill("Answer in one sentence.")
    page.get_by_role("spinbutton", name="Temperature").fill("0.3")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    ask(page, QUESTION)
    page.reload()
    page.locator(".answer .sources").wait_for()
    assert consent.get_attribute("aria-checked") != before
    page.get_by_role("button", name="Settings of this chat").click()
    assert page.get_by_label("Instruction").input_value() == "Answer in one sentence."
    assert page.get_by_role("spinbutton", name="Temperature").input_value() == "0.3"


HOSTILE = """<img src="http://evil.example/a.png" onerror="document.title='owned'">
<script>document.title='owned'</script>

![picture](http://evil.example/b.png) [a link](http://evil.example/c) [bad](javascript:document.title='owned')

```js
let x = "<b>1</b>";
```

\\(E = mc^2\\) and $$\\href{javascript:document.title='owned'}{y}$$
"""


def hostile_chats() -> dict[str, Any]:
    """An export whose answer tries what an answer must not do."""
    time = "2026-01-01T00:00:00Z"
    common = {"created_at": time, "error": None, "vote": None, "better": None, "answer": None}
    return {
        "format": "malmoi-chats",
        "version": 1,
        "chats": [
            {
                "id": "a" * 32, "title": "Hostile answer", "created_at": time, "updated_at": time, "may_teach": True,
                "system": "", "sampling": {}, "n_messages": 2, "head": "c" * 32,
                "messages": [
                    {"id": "b" * 32, "parent": None, "role": "user", "text": "hello", "finish": None, **common},
                    {"id": "c" * 32, "parent": "b" * 32, "role": "assistant", "text": HOSTILE,
                     "finish": "stop", **common},
                ],
            }
        ],
    }  # fmt: skip


def test_an_answer_is_never_a_program_nor_a_request(open_page: OpenPage, tmp_path: Path) -> None:
    """The fixture fails if anything was loaded from elsewhere."""
    file = tmp_path / "chats.json"
    file.write_text(json.dumps(hostile_chats()), encoding="utf-8")
    page = open_page("/chat")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_text("Imported: 1 chats, 2 messages.").wait_for()
    page.get_by_role("link", name="Hostile answer").first.click()
    page.locator(".answer math").first.wait_for()
    assert page.title() == "Malmoi"
    assert page.locator(".answer img, .answer script, .answer a").count() == 0
    assert '<img src="http://evil.example/a.png"' in page.locator(".answer .markdown").inner_text()
    assert page.locator(".answer .code code").inner_text().strip() == 'let x = "<b>1</b>";'
    page.get_by_role("button", name="a link").click()
    assert page.locator(".answer a").get_attribute("href") == "http://evil.example/c"
    assert page.get_by_role("switch").get_attribute("aria-checked") == "false", (
        "what is imported teaches nothing by itself"
    )


def test_chats_go_out_and_come_in_whole(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("/chat")
    ask(page, "When does the library open?")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export all").click()
    file = tmp_path / "all.json"
    download.value.save_as(file)
    chats = json.loads(file.read_text(encoding="utf-8"))["chats"]
    assert any(message["text"] == "When does the library open?" for chat in chats for message in chat["messages"])
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_text(f"Imported: {len(chats):,} chats").wait_for()


def test_a_broken_file_is_named_as_that(open_page: OpenPage, tmp_path: Path) -> None:
    file = tmp_path / "chats.json"
    file.write_text("no JSON", encoding="utf-8")
    page = open_page("/chat", locale="ko-KR")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_text("JSON 파일이 아닙니다.").wait_for()
