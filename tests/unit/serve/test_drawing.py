"""Drawing in the service: streams, the queue, whoever leaves, whose pictures are whose; and the official client."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from malmoi.feedback.accounts import members, remove_member
from malmoi.serve.start import Options
from malmoi.workspace.folder import Workspace
from tests.tiny_pictures import write_tiny_lora, write_tiny_pictures
from tests.unit.serve.conftest import Running, new_id, person, read_events, running, until
from tests.unit.serve.test_openai_api import client_of

LONG = {"prompt": "circle", "n": 8, "steps": 100}


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory, float32: None) -> Iterator[Running]:
    workspace = Workspace.open(tmp_path_factory.mktemp("drawing") / "workspace")
    write_tiny_pictures(workspace.models / "tiny")
    for name, size in (("style", 16), ("large", 24)):
        write_tiny_lora(workspace.models / name / "pytorch_lora_weights.safetensors", size)
    with running(Options(workspace.path, port=0)) as server:
        yield server


@pytest.fixture
def client(drawing: Running) -> Iterator[httpx.Client]:
    with person(drawing) as client:
        yield client


def png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def photo() -> bytes:
    return png(Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)))


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def draw(client: httpx.Client, **asked: Any) -> list[dict[str, Any]]:
    """Ask for pictures, and read the whole stream."""
    body = {"id": new_id(), "prompt": "red circle", "steps": 2} | asked
    with client.stream("POST", "/api/drawings", json=body) as response:
        if response.status_code != 200:
            response.read()
            return [{"type": "refused", "status": response.status_code, **response.json()}]
        return list(read_events(response))


def history(client: httpx.Client) -> list[dict[str, Any]]:
    return list(client.get("/api/drawings").json()["drawings"])


def test_a_drawing_is_streamed_stored_and_says_where_it_is_from(client: httpx.Client, drawing: Running) -> None:
    about = client.get("/api/drawings/about").json()
    assert about["name"] == "tiny" and about["size"] == "32x32" and "ddim" in about["samplers"]
    assert client.get("/api/status").json()["draws"] is True
    events = draw(client, n=2, seed=7, prompt="빨간 circle")
    steps = [event for event in events if event["type"] == "step"]
    assert steps[-1]["of"] == 4 and len(steps[-1]["previews"]) == 2
    assert pixels(base64.b64decode(steps[-1]["previews"][0])).shape == (16, 16, 3)
    done = events[-1]["drawing"]
    assert events[-1]["type"] == "done" and done["prompt"] == "빨간 circle" and done["kind"] == "text"
    assert [one["seed"] for one in done["pictures"]] == [7, 8]
    file = client.get(f"/api/drawings/pictures/{done['pictures'][1]['id']}")
    assert file.headers["content-type"] == "image/png" and pixels(file.content).shape == (32, 32, 3)
    text = Image.open(io.BytesIO(file.content)).text  # type: ignore[attr-defined]
    assert text["prompt"] == "빨간 circle" and text["seed"] == "8" and text["model"] == "tiny"
    assert history(client) == [done]
    origin = client.get(f"/api/drawings/{done['id']}/lineage").json()
    assert origin["model"] == "tiny" and origin["hash"] == about["hash"] and origin["runs"] == []


def test_the_same_request_sent_twice_is_drawn_once(client: httpx.Client) -> None:
    id = new_id()
    first, again = draw(client, id=id), draw(client, id=id)
    assert again == [{"type": "done", "drawing": first[-1]["drawing"], "stopped": False}]
    assert len(history(client)) == 1


def test_the_same_request_sent_twice_at_once_is_drawn_once(client: httpx.Client, drawing: Running) -> None:
    id = new_id()
    with ThreadPoolExecutor(4) as pool:
        streams = [*pool.map(lambda _: draw(client, id=id, steps=20), range(4))]
    [row] = history(client)
    assert [stream[-1] for stream in streams] == [{"type": "done", "drawing": row, "stopped": False}] * 4
    assert not drawing.state.being_drawn and not drawing.state.drawing_at_once._counts


def test_one_that_was_asked_for_again_goes_on_when_the_first_has_left(client: httpx.Client, drawing: Running) -> None:
    body = {"id": new_id(), "prompt": "circle", "steps": 100}
    with client.stream("POST", "/api/drawings", json=body) as first:
        events = read_events(first)
        next(events)
        with ThreadPoolExecutor(1) as pool:
            again = pool.submit(lambda: draw(client, **body))
            until(lambda: [one.n_readers for one in drawing.state.being_drawn.values()] == [2])
            events.close()
            first.close()
            end = again.result()[-1]
    assert end == {"type": "done", "drawing": history(client)[0], "stopped": False}


def test_two_people_who_choose_the_same_id_draw_both(client: httpx.Client, drawing: Running) -> None:
    id = new_id()
    with (
        person(drawing) as other,
        client.stream("POST", "/api/drawings", json={"id": id, "prompt": "circle", "steps": 30}) as making,
    ):
        events = read_events(making)
        next(event for event in events if event["type"] == "step")
        second = draw(other, id=id, prompt="blue")[-1]["drawing"]
        first = [*events][-1]["drawing"]
        assert (first["prompt"], second["prompt"]) == ("circle", "blue")
        assert history(client) == [first] and history(other) == [second]


def seen(client: httpx.Client, drawing: dict[str, Any]) -> Any:
    return pixels(client.get(f"/api/drawings/pictures/{drawing['pictures'][0]['id']}").content)


def test_a_lora_is_lent_to_one_drawing_and_it_says_so(client: httpx.Client) -> None:
    assert client.get("/api/drawings/about").json()["loras"] == ["large", "style"]
    plain, none, styled, less, again = (
        draw(client, seed=1, **how)[-1]["drawing"]
        for how in ({}, {"lora": "style:0"}, {"lora": "style"}, {"lora": "style:-0.5"}, {})
    )
    pictures = [seen(client, one) for one in (plain, none, styled, less, again)]
    assert [bool((one == pictures[0]).all()) for one in pictures] == [True, True, False, False, True]
    assert styled["lora"].startswith("style:1 (SHA-256 ") and less["lora"].startswith("style:-0.5 (")
    origin = client.get(f"/api/drawings/{styled['id']}/lineage").json()
    assert origin["lora"] == styled["lora"] and origin["lora_runs"] == []
    png = client.get(f"/api/drawings/pictures/{styled['pictures'][0]['id']}").content
    assert Image.open(io.BytesIO(png)).text["lora"] == styled["lora"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("before", [2**63, 10**30, -1, "nan", "", "\x00"])
def test_a_place_in_the_list_that_is_none_is_refused(client: httpx.Client, before: Any) -> None:
    found = client.get("/api/drawings", params={"before": before})
    assert found.status_code == 422 and found.json()["error"]["param"] == "before"


def test_another_person_sees_and_deletes_nothing(client: httpx.Client, drawing: Running) -> None:
    done = draw(client)[-1]["drawing"]
    paths = (f"/api/drawings/pictures/{done['pictures'][0]['id']}", f"/api/drawings/{done['id']}/lineage")
    with person(drawing) as other:
        assert history(other) == []
        assert [other.get(path).status_code for path in paths] == [404, 404]
        assert other.delete(f"/api/drawings/{done['id']}").status_code == 404
        assert other.delete(paths[0]).status_code == 404
    assert len(history(client)) == 1


def test_deleted_pictures_are_gone_from_the_disk(client: httpx.Client, drawing: Running) -> None:
    folder = drawing.ledger.root / "drawings"
    done = draw(client, n=3)[-1]["drawing"]
    files = [folder / f"{one['id']}.png" for one in done["pictures"]]
    assert all(file.is_file() for file in files)
    assert client.delete(f"/api/drawings/pictures/{done['pictures'][0]['id']}").status_code == 204
    assert [file.exists() for file in files] == [False, True, True]
    assert len(history(client)[0]["pictures"]) == 2
    assert client.delete(f"/api/drawings/{done['id']}").status_code == 204
    assert history(client) == [] and not any(file.exists() for file in files)


def test_a_person_who_leaves_takes_the_pictures_along(drawing: Running) -> None:
    with person(drawing) as client:
        done = draw(client)[-1]["drawing"]
        me = client.get("/api/me").json()["person"]["id"]
    file = drawing.ledger.root / "drawings" / f"{done['pictures'][0]['id']}.png"
    assert file.is_file()
    remove_member(drawing.ledger, me)
    assert not file.exists() and me not in {row["id"] for row in members(drawing.ledger)}


def test_a_picture_is_changed_and_a_part_of_it_is_drawn_again(client: httpx.Client) -> None:
    first = draw(client)[-1]["drawing"]
    before = pixels(client.get(f"/api/drawings/pictures/{first['pictures'][0]['id']}").content)
    mask = Image.new("L", (32, 32), 0)
    mask.paste(255, (0, 0, 16, 32))
    start = {"start_id": first["pictures"][0]["id"]}
    painted = draw(client, **start, mask=base64.b64encode(png(mask)).decode(), seed=3)[-1]["drawing"]
    after = pixels(client.get(f"/api/drawings/pictures/{painted['pictures'][0]['id']}").content)
    assert painted["kind"] == "inpaint" and np.array_equal(before[:, 16:], after[:, 16:])
    varied = draw(client, start=base64.b64encode(photo()).decode(), prompt="", strength=0.5)[-1]["drawing"]
    assert varied["kind"] == "image" and varied["strength"] == 0.5
    assert [first["start_id"], painted["start_id"], varied["start_id"]] == [None, first["pictures"][0]["id"], None]
    again = draw(client, start_id=painted["pictures"][0]["id"])[-1]["drawing"]
    began = client.get(f"/api/drawings/{again['id']}/lineage").json()["began"]
    assert [one["picture"] for one in began] == [painted["pictures"][0]["id"], first["pictures"][0]["id"]]


def test_nobody_is_led_to_another_ones_drawing(client: httpx.Client, drawing: Running) -> None:
    mine = draw(client)[-1]["drawing"]["pictures"][0]["id"]
    file = base64.b64encode(client.get(f"/api/drawings/pictures/{mine}").content).decode()
    with person(drawing) as other:
        theirs = draw(other, start=file)[-1]["drawing"]
        assert theirs["start_id"] is None and other.get(f"/api/drawings/{theirs['id']}/lineage").json()["began"] == []
    assert draw(client, start=file)[-1]["drawing"]["start_id"] == mine


def painter(drawing: Running) -> Any:
    return drawing.state.studio.painter


def test_one_that_waits_is_told_its_place_and_one_that_stops_keeps_what_is_finished(drawing: Running) -> None:
    with person(drawing) as one, person(drawing) as other:
        id = new_id()
        with one.stream("POST", "/api/drawings", json={"id": id, **LONG}) as running_:
            events = read_events(running_)
            next(event for event in events if event["type"] == "step")
            with other.stream("POST", "/api/drawings", json={"id": new_id(), "prompt": "b", "steps": 1}) as waiting:
                told = read_events(waiting)
                assert next(told) == {"type": "queued", "position": 1}
                assert one.post(f"/api/drawings/{id}/stop").status_code == 204
                assert [*told][-1]["type"] == "done"
            end = [*events][-1]
        assert end == {"type": "done", "drawing": None, "stopped": True}
        assert history(one) == []
    until(lambda: painter(drawing).is_idle)


def test_a_client_that_leaves_frees_its_place(drawing: Running) -> None:
    with person(drawing) as client:
        with client.stream("POST", "/api/drawings", json={"id": new_id(), **LONG}) as response:
            drawn = read_events(response)  # a reader that is let go closes the stream
            next(drawn)
            assert not painter(drawing).is_idle
        until(lambda: painter(drawing).is_idle)
        until(lambda: not drawing.state.drawing_at_once._counts)
        assert draw(client)[-1]["type"] == "done"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"n": 9}, "invalid"),
        ({"steps": 101}, "invalid"),
        ({"size": "4096x4096"}, "invalid"),
        ({"size": "33x32"}, "cannot_draw"),
        ({"prompt": ""}, "cannot_draw"),
        ({"prompt": "x" * 10_000}, "cannot_draw"),
        ({"sampler": "magic"}, "cannot_draw"),
        ({"start": "!"}, "invalid"),
        ({"start": base64.b64encode(b"no picture").decode()}, "cannot_draw"),
        ({"start_id": "0" * 32}, "not_found"),
        ({"mask": base64.b64encode(photo()).decode()}, "cannot_draw"),
        ({"what": 1}, "invalid"),
        ({"lora": "../tiny"}, "invalid"),
        ({"lora": "style:11"}, "cannot_draw"),
        ({"lora": "style:nan"}, "cannot_draw"),
        ({"lora": "large"}, "cannot_draw"),
    ],
    ids=[
        "n",
        "steps",
        "large",
        "size",
        "empty",
        "long",
        "sampler",
        "base64",
        "text",
        "missing",
        "mask",
        "unknown",
        "lora",
        "much",
        "nan",
        "large",
    ],
)
def test_what_cannot_be_drawn_is_refused(
    client: httpx.Client, drawing: Running, asked: dict[str, Any], code: str
) -> None:
    [event] = draw(client, **asked)
    assert event["type"] == "refused" and event["error"]["code"] == code and event["status"] in (404, 422)
    assert not drawing.state.drawing_at_once._counts and not drawing.state.orders


def test_a_person_has_two_drawings_at_once_at_most(drawing: Running) -> None:
    with person(drawing) as client:
        bodies = [{"id": new_id(), **LONG} for _ in range(3)]
        with client.stream("POST", "/api/drawings", json=bodies[0]) as one:
            drawn = read_events(one)  # a reader that is let go closes the stream
            next(drawn)
            with client.stream("POST", "/api/drawings", json=bodies[1]) as two:
                waiting = read_events(two)
                next(waiting)
                refused = client.post("/api/drawings", json=bodies[2])
                assert refused.status_code == 429 and refused.json()["error"]["code"] == "too_many_drawings"
    until(lambda: painter(drawing).is_idle)


def test_a_newer_model_draws_what_is_asked_next(tmp_path: Path, float32: None) -> None:
    workspace = Workspace.open(tmp_path / "workspace")
    with running(Options(workspace.path, port=0)) as server, person(server) as client:
        assert client.get("/api/status").json()["draws"] is False
        assert client.get("/api/drawings/about").json()["error"]["code"] == "no_picture_model"
        assert draw(client)[0]["error"]["code"] == "no_picture_model"
        for seed, name in enumerate(("a", "b")):
            write_tiny_pictures(workspace.models / name, seed)
            assert client.get("/api/drawings/about").json()["name"] == name
            assert draw(client)[-1]["drawing"]["model"] == name
        (workspace.models / "c").mkdir()
        (workspace.models / "c" / "model_index.json").write_text("{}")
        assert client.get("/api/drawings/about").json()["error"]["code"] == "model_failed"


@pytest.fixture
def official(drawing: Running) -> Iterator[openai.OpenAI]:
    with client_of(drawing) as made:
        yield made


def variation_of(official: openai.OpenAI, image: Any, **how: Any) -> Any:
    with pytest.warns(DeprecationWarning):  # the client's; its other services no longer have it
        return official.images.create_variation(image=image, **how)


def test_the_models_that_can_be_asked_are_listed_with_their_kind(official: openai.OpenAI) -> None:
    listed = {model.id: model.model_dump()["kind"] for model in official.models.list()}
    assert listed["tiny"] == "picture" and official.models.retrieve("tiny").object == "model"


def test_the_official_client_draws(official: openai.OpenAI) -> None:
    extra = {"seed": 5, "steps": 2, "guidance": 2.0}
    made = official.images.generate(prompt="red circle", n=2, size="32x32", extra_body=extra)  # type: ignore[call-overload]
    again = official.images.generate(prompt="red circle", model="malmoi", extra_body={**extra, "seed": 6})
    assert made.data is not None and again.data is not None and len(made.data) == 2
    assert (
        made.data[1].b64_json == again.data[0].b64_json
        or np.abs(
            pixels(base64.b64decode(str(made.data[1].b64_json))).astype(int)
            - pixels(base64.b64decode(str(again.data[0].b64_json)))
        ).max()
        <= 1
    )
    first = pixels(base64.b64decode(str(made.data[0].b64_json)))
    styled = official.images.generate(prompt="red circle", extra_body={**extra, "lora": "style:2"})
    assert styled.data is not None
    assert first.shape == (32, 32, 3) and (pixels(base64.b64decode(str(styled.data[0].b64_json))) != first).any()


def test_the_official_client_edits_and_varies(official: openai.OpenAI) -> None:
    start = photo()
    hole = Image.new("RGBA", (32, 32), (0, 0, 0, 255))
    hole.paste((0, 0, 0, 0), (0, 0, 16, 32))
    made = official.images.edit(
        image=("photo.png", start), mask=("mask.png", png(hole)), prompt="blue", extra_body={"steps": 2}
    )
    assert made.data is not None
    after = pixels(base64.b64decode(str(made.data[0].b64_json)))
    assert np.array_equal(after[:, 16:], pixels(start)[:, 16:])
    assert not np.array_equal(after[:, :16], pixels(start)[:, :16])
    varied = variation_of(official, io.BytesIO(start), n=2, extra_body={"steps": 2, "seed": 1})
    assert varied.data is not None and len(varied.data) == 2


def test_the_official_client_is_refused_in_its_own_form(official: openai.OpenAI) -> None:
    for act, said in (
        (lambda: official.images.generate(prompt="a", size="33x32"), "the nearest is 32x32"),  # type: ignore[call-overload]
        (lambda: official.images.generate(prompt="a", n=99), "n: "),
        (lambda: official.images.generate(prompt="a", response_format="url"), "response_format"),
        (lambda: official.images.generate(prompt=""), "prompt: is empty"),
        (lambda: official.images.generate(prompt="a", extra_body={"seed": 2**53}), "seed: "),
        (lambda: official.images.edit(image=b"nothing", prompt="a"), "not a picture"),
        (lambda: official.images.edit(image=[photo(), photo()], prompt="a"), "expected one picture, not several"),
        (lambda: variation_of(official, photo(), extra_body={"odd": 1}), "unknown parameter"),
    ):
        with pytest.raises(openai.BadRequestError, match=said) as caught:
            act()
        assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="no such LoRA here; there is large, style"):
        official.images.generate(prompt="a", extra_body={"lora": "other"})
    with pytest.raises(openai.NotFoundError, match="no such model here; there is tiny"):
        official.images.generate(prompt="a", model="dall-e-3")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nno name\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na'),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xff\r\n--x--',
        ),
        ("application/json", b"{}"),
    ],
    ids=["no-boundary", "empty", "no-name", "no-end", "not-utf-8", "json"],
)
def test_odd_forms_are_refused(client: httpx.Client, kind: str, body: bytes) -> None:
    done = client.post("/v1/images/edits", content=body, headers={"Content-Type": kind})
    assert done.status_code == 400 and json.loads(done.text)["error"]["message"]


def test_files_that_nothing_takes_are_refused(client: httpx.Client) -> None:
    whole = [(name, (f"{name}.png", photo())) for name in ("image", "mask", "mask")]
    for path, files, said in (
        ("variations", whole[:2], "mask: unknown parameter"),
        ("edits", whole, "mask: expected one picture, not several"),
    ):
        done = client.post(f"/v1/images/{path}", files=files, data={"prompt": "a"} if path == "edits" else {})
        assert done.status_code == 400 and done.json()["error"]["message"] == said


def test_pictures_that_nothing_names_are_swept(drawing: Running) -> None:
    from malmoi.feedback.drawings import sweep

    with person(drawing) as client:
        done = draw(client)[-1]["drawing"]
    folder = drawing.ledger.root / "drawings"
    (folder / "left.png").write_bytes(b"half")
    sweep(drawing.ledger)
    assert not (folder / "left.png").exists() and (folder / f"{done['pictures'][0]['id']}.png").exists()
