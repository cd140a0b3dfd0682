"""Draw: pictures come while one watches, stop, vary, are painted over, and are there after a reload."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import Site, opening, serving
from tests.browser.test_access import fits, serious_faults
from tests.tiny_pictures import write_tiny_lora, write_tiny_pictures

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def drawing_site(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with a tiny picture model that was not trained, and a note to chat about."""
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.indexes import index_folder

    folder = tmp_path_factory.mktemp("drawing")
    workspace = Workspace.open(folder / "workspace")
    (folder / "notes").mkdir()
    (folder / "notes" / "tea.md").write_text("# Tea\n\nGreen tea is steeped at 70 degrees.\n", encoding="utf-8")
    index_folder(workspace, folder / "notes")
    write_tiny_pictures(workspace.models / "tiny")
    write_tiny_lora(workspace.models / "style" / "pytorch_lora_weights.safetensors")
    with serving(chromium, workspace.path, folder / "log", {"MALMOI_DTYPE": "float32"}) as served:
        yield served


@pytest.fixture
def open_drawing(chromium: Any, drawing_site: Site) -> Iterator[OpenPage]:
    with opening(chromium, drawing_site) as open_:
        yield open_


def draw(page: Any, prompt: str, n: int = 1, steps: int = 2) -> Any:
    """Ask for pictures, and wait for them; returns the newest drawing of the history."""
    page.get_by_label("What should be in the picture?").fill(prompt)
    page.get_by_role("combobox", name="Pictures").select_option(str(n))
    more = page.get_by_text("More", exact=True)
    if not page.get_by_label("Steps").is_visible():
        more.click()
    page.get_by_label("Steps").fill(str(steps))
    page.locator("article").or_(page.get_by_text("Nothing drawn yet")).first.wait_for()
    n_before = page.locator("article").count()
    page.get_by_role("button", name="Draw", exact=True).click()
    page.locator("article").nth(n_before).wait_for()
    return page.locator("article").first


def pixels(page: Any, picture: Any) -> Any:
    """What a shown picture holds."""
    data = page.evaluate(
        """async (url) => {
            const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
            return btoa(String.fromCharCode(...bytes));
        }""",
        picture.get_attribute("src"),
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_pictures_are_drawn_kept_opened_and_deleted(open_drawing: OpenPage) -> None:
    page = open_drawing("/chat")
    page.get_by_role("link", name="Draw").click()
    page.get_by_text("Nothing drawn yet").wait_for()
    drawn = draw(page, "red circle", n=3)
    assert drawn.get_by_role("img").count() == 3
    assert serious_faults(page) == [] and fits(page)
    page.reload()
    page.get_by_role("heading", name="red circle").wait_for()
    page.get_by_role("button", name="red circle, seed").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Where from?").click()
    dialog.get_by_text("malmoi lineage drawing-").wait_for()
    assert serious_faults(page) == []
    with page.expect_download() as file:
        dialog.get_by_role("link", name="Download").click()
    assert Image.open(file.value.path()).text["prompt"] == "red circle"
    dialog.get_by_role("button", name="Delete picture").click()
    dialog.wait_for(state="detached")
    page.locator("article img").nth(2).wait_for(state="detached")
    page.get_by_role("button", name="Delete: red circle").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("Nothing drawn yet").wait_for()


def test_a_lora_is_chosen_and_the_picture_says_so(open_drawing: OpenPage) -> None:
    page = open_drawing("/draw")
    page.get_by_label("LoRA").select_option("style")
    page.get_by_label("How much of it").fill("0.5")
    assert serious_faults(page) == [] and fits(page)
    drawn = draw(page, "circle")
    drawn.get_by_text("LoRA style × 0.5").wait_for()
    page.get_by_label("LoRA").select_option("none")
    drawn.get_by_role("button", name="Use these settings").click()
    assert page.get_by_label("LoRA").input_value() == "style"
    assert page.get_by_label("How much of it").input_value() == "0.5"
    drawn.get_by_role("button", name="circle, seed").click()
    page.get_by_role("dialog").get_by_role("button", name="Where from?").click()
    page.get_by_role("dialog").get_by_text("style × 0.5").wait_for()
    assert serious_faults(page) == []


def test_what_is_drawn_is_seen_in_the_making_and_stops(open_drawing: OpenPage) -> None:
    page = open_drawing("/draw")
    page.get_by_label("What should be in the picture?").fill("circle")
    page.get_by_role("combobox", name="Pictures").select_option("8")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Steps").fill("100")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("img", name="Picture 1, not finished").wait_for()
    assert serious_faults(page) == []
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped. What was finished is kept.").wait_for()
    page.get_by_role("button", name="Draw", exact=True).wait_for()


def test_a_picture_is_varied(open_drawing: OpenPage) -> None:
    page = open_drawing("/draw")
    draw(page, "circle")
    page.locator("article").first.get_by_role("button", name="circle, seed").click()
    n_before = page.locator("article").count()
    page.get_by_role("dialog").get_by_role("button", name="More like it").click()
    page.locator("article").nth(n_before).wait_for()
    varied = page.locator("article").first
    varied.get_by_text("from a picture").wait_for()
    begun = page.get_by_role("img", name="The picture to begin with")
    page.locator("article").nth(1).get_by_role("button", name="Use these settings").click()
    begun.wait_for(state="detached")
    page.get_by_label("How much to change").wait_for(state="detached")
    varied.get_by_role("button", name="Use these settings").click()
    begun.wait_for()
    varied.get_by_role("button", name="circle, seed").first.click()
    page.get_by_role("button", name="Where from?").click()
    page.get_by_role("dialog").locator("li").filter(has_text="circle").filter(has_text="drawing-").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.className") == "frame-of"


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_part_is_painted_over_and_only_that_is_drawn_again(open_drawing: OpenPage, by: str) -> None:
    page = open_drawing("/draw")
    before = pixels(page, draw(page, "circle").get_by_role("img"))
    page.locator("article").first.get_by_role("button", name="circle, seed").click()
    page.get_by_role("dialog").get_by_role("button", name="Change it").click()
    page.get_by_role("button", name="Paint a part …").click()
    brush = page.get_by_role("application")
    brush.wait_for()
    assert page.get_by_role("button", name="Done").is_disabled() and serious_faults(page) == []
    if by == "mouse":
        box = brush.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
    else:
        brush.focus()
        for key in [*["ArrowLeft"] * 5, *["ArrowUp"] * 4, " ", "+", "-"]:
            page.keyboard.press(key)
    page.get_by_role("button", name="Done").click()
    page.get_by_text("Only the painted part is drawn again.").wait_for()
    after = pixels(page, draw(page, "blue").get_by_role("img"))
    page.locator("article").first.get_by_text("a part, painted over").wait_for()
    changed = (before != after).any(axis=2)
    assert changed[:, :16].any() and not changed[:, 20:].any() and not changed[22:].any()


def test_a_file_is_the_beginning_and_what_it_lacks_is_said(open_drawing: OpenPage) -> None:
    page = open_drawing("/draw")
    written = io.BytesIO()
    Image.new("RGB", (60, 30), (200, 30, 30)).save(written, "JPEG")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Begin with a picture …").click()
    chooser.value.set_files([{"name": "a.jpg", "mimeType": "image/jpeg", "buffer": written.getvalue()}])
    page.get_by_role("img", name="The picture to begin with").wait_for()
    draw(page, "circle")
    page.get_by_text("The picture was cut and scaled to the size that is drawn.").wait_for()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Without it").click()
        page.get_by_role("button", name="Begin with a picture …").click()
    chooser.value.set_files([{"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"}])
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("alert").get_by_text("This cannot be drawn: image: not a picture").wait_for()


def test_slash_draw_in_a_chat_leads_to_the_page(open_drawing: OpenPage) -> None:
    page = open_drawing("/chat")
    page.get_by_label("Message").fill("/그리기 빨간 동그라미")
    page.get_by_label("Message").press("Enter")
    page.get_by_label("What should be in the picture?").wait_for()
    assert page.get_by_label("What should be in the picture?").input_value() == "빨간 동그라미"


def test_in_korean_on_a_phone_in_the_dark(open_drawing: OpenPage) -> None:
    page = open_drawing("/draw", locale="ko-KR", phone=True, dark=True)
    page.get_by_label("무엇을 그릴까요?").fill("빨간 동그라미")
    page.get_by_label("장수").select_option("2")
    page.get_by_role("button", name="그리기", exact=True).tap()
    page.get_by_role("heading", name="빨간 동그라미").wait_for()
    assert serious_faults(page) == [] and fits(page)
    page.get_by_role("button", name="빨간 동그라미, 시드").first.tap()
    page.get_by_role("dialog").get_by_role("button", name="바꿔 그리기").tap()
    page.get_by_role("button", name="일부만 다시 그리기 …").tap()
    box = page.get_by_role("application").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert fits(page) and serious_faults(page) == []
    page.get_by_role("button", name="완료").tap()
    page.get_by_text("칠한 부분만 다시 그립니다.").wait_for()


def test_without_a_picture_model_the_page_says_how_to_get_one(open_page: OpenPage) -> None:
    page = open_page("/draw")
    page.get_by_text("There is no picture model yet").wait_for()
    page.get_by_text("malmoi run picture").wait_for()
    assert page.get_by_role("link", name="Draw").count() == 0
    assert serious_faults(page) == [] and fits(page)
