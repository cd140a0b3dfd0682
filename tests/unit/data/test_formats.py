"""Every form in which people publish conversations and rankings comes out as ours, or is refused by file and line."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from malmoi.data.formats import FORMATS, RowReport, conversations, prompts, rankings, tree_of
from malmoi.errors import DataError
from malmoi.text import is_blank
from malmoi.tokenizer.chat_template import check_messages

Row = dict[str, Any]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write(tmp_path: Path, *rows: Any) -> Path:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "rows.jsonl"


ASKED, TALK = [user("What?")], [user("What?"), says("A cat.")]
LONGER = [*TALK, user("And?")]
CHATS: list[tuple[str, Row, list[dict[str, str]]]] = [
    ("messages", {"messages": [{**turn, "name": None} for turn in TALK]}, TALK),
    ("ShareGPT", {"conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cat."}]}, TALK),
    ("Alpaca", {"instruction": "What?", "input": "", "output": "A cat."}, TALK),
    ("Alpaca", {"instruction": "Name", "input": "it", "output": "A cat."}, [user("Name\n\nit"), says("A cat.")]),
    ("self-instruct", {"instruction": "What?", "instances": [{"input": "", "output": "A cat."}]}, TALK),
    ("prompt and completion", {"prompt": "What?", "completion": "A cat."}, TALK),
    ("prompt and completion", {"prompt": ASKED, "completion": [says("A cat.")]}, TALK),
    ("prompt and response", {"prompt": "What?", "response": "A cat.", "system": "Be brief."},
     [{"role": "system", "content": "Be brief."}, *TALK]),
    ("question and answer", {"question": "What?", "answer": "A cat."}, TALK),
    ("turns", {"turns": ["What?", "A cat.", "And?"]}, LONGER),
    ("HH transcripts", {"chosen": "\n\nHuman: What?\n\nAssistant: A cat.",
                        "rejected": "\n\nHuman: What?\n\nAssistant: No"}, TALK),
    ("judgements", {"messages": ASKED, "answers": ["No.", "A cat."], "ranks": [2, 1]}, TALK),
]  # fmt: skip
DEEP = "\n\nHuman: What?\n\nAssistant: A cat.\n\nHuman: And?\n\nAssistant:"
RANKINGS: list[tuple[str, Row, list[dict[str, str]], list[str], list[int]]] = [
    ("judgements", {"messages": ASKED, "answers": ["a", "", "c"], "ranks": [2, 2, 1]},
     ASKED, ["a", "", "c"], [2, 2, 1]),
    ("OASST rankings", {"messages": LONGER, "ranked": ["a", "b", "c"]}, LONGER, ["a", "b", "c"], [1, 2, 3]),
    ("chosen and rejected", {"prompt": "What?", "chosen": "a", "rejected": "b"}, ASKED, ["a", "b"], [1, 2]),
    ("chosen and rejected", {"prompt": "What?", "chosen": [says("a")], "rejected": [says("b")]},
     ASKED, ["a", "b"], [1, 2]),
    ("chosen and rejected", {"prompt": "What?", "chosen": [*ASKED, says("a")], "rejected": [*ASKED, says("b")],
                             "messages": TALK}, ASKED, ["a", "b"], [1, 2]),
    ("chosen and rejected", {"chosen": [*LONGER, says("a")], "rejected": [*LONGER, says("b")]},
     LONGER, ["a", "b"], [1, 2]),
    ("chosen and rejected", {"instruction": "What?", "input": "", "output": "x", "chosen": "a", "rejected": "b"},
     ASKED, ["a", "b"], [1, 2]),
    ("chosen and rejected", {"prompt": DEEP, "chosen": "a", "rejected": "b"}, LONGER, ["a", "b"], [1, 2]),
    ("HH transcripts", {"chosen": f"{DEEP} a\n\nHuman, I mean.", "rejected": f"{DEEP} b  Human: c"}, LONGER,
     ["a\n\nHuman, I mean.", "b  Human: c"], [1, 2]),
    ("PandaLM", {"instruction": "What?", "input": "", "response1": "a", "response2": "b",
                 "annotator1": 2, "annotator2": 2, "annotator3": 0}, ASKED, ["a", "b"], [2, 1]),
    ("PandaLM", {"instruction": "What?", "input": "", "response1": "a", "response2": "b",
                 "annotator1": 2, "annotator2": 1, "annotator3": 0}, ASKED, ["a", "b"], [1, 1]),
    ("FG-RLHF", {"question": "What?", "preference": [1, 1, 2, 0, 2, 2],
                 **{f"prediction {i}": str(i) for i in (4, 2, 3, 1)}},
     ASKED, ["1", "2", "3", "4"], [2, 3, 3, 1]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "messages"), CHATS)
def test_conversations_of_every_format(tmp_path: Path, name: str, row: Row, messages: list[dict[str, str]]) -> None:
    report = RowReport()
    [(number, found)] = conversations(write(tmp_path, row), report=report)
    assert (number, found["messages"], dict(report.formats)) == (1, messages, {name: 1})
    assert found["source"] == "rows" and found["tree"] == tree_of(messages)


@pytest.mark.parametrize(("name", "row", "messages", "answers", "ranks"), RANKINGS)
def test_rankings_of_every_format(
    tmp_path: Path, name: str, row: Row, messages: list[dict[str, str]], answers: list[str], ranks: list[int]
) -> None:
    report = RowReport()
    [(_, found)] = rankings(write(tmp_path, row), report=report)
    assert (found["messages"], found["answers"], found["ranks"]) == (messages, answers, ranks)
    assert dict(report.formats) == {name: 1}
    [(_, prompt)] = prompts(write(tmp_path, row))
    if name != "chosen and rejected" or "messages" not in row:  # else its conversation is the prompt's source
        assert prompt["messages"] == messages


def test_what_each_annotator_said_is_kept(tmp_path: Path) -> None:
    row = next(row for name, row, *_ in RANKINGS if name == "PandaLM")
    [(_, found)] = rankings(write(tmp_path, row))
    assert found["annotators"] == [[2, 1], [2, 1], [1, 1]]
    [(_, again)] = rankings(write(tmp_path, found))
    assert again == found


ALONE = [
    {"prompt": "What?"}, {"prompt": ASKED}, {"question": "What?"}, {"turns": ["What?", "Why?"]}, {"messages": ASKED},
    {"messages": TALK}, {"question_id": 81, "turns": ["What?", "Why?"]},
]  # fmt: skip


@pytest.mark.parametrize("row", ALONE)
def test_prompts_alone_and_before_an_answer(tmp_path: Path, row: Row) -> None:
    [(_, found)] = prompts(write(tmp_path, row))
    assert found == {"messages": ASKED, "source": "rows", "tree": tree_of(ASKED)}


def test_a_row_is_believed_about_itself(tmp_path: Path) -> None:
    facts = {"source": "forum", "origin": "human", "tree": "t7", "lang": "ko"}
    [(_, found)] = conversations(write(tmp_path, {"messages": TALK, **facts}))
    assert found == {"messages": TALK, **facts}


BAD: list[tuple[str, Row, str]] = [
    ("conversations", {"question_id": 81, "turns": ["What?", "Why?"]}, "expected"),
    ("rankings", {"prompt": "What?", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
    ("rankings", {"prompt": "What?", "chosen": "a", "rejected": " "}, "an empty answer"),
    ("rankings", {"prompt": "", "chosen": "a", "rejected": "b"}, "an empty turn"),
    ("rankings", {"prompt": "What?", "chosen": "a", "rejected": 7}, "expected a list of messages"),
    ("rankings", {"chosen": "The sky is blue", "rejected": "The sky is red"}, "no prompt"),
    ("rankings", {"chosen": DEEP + " a", "rejected": "\n\nHuman: Who?\n\nAssistant: b"}, "before their last turn"),
    ("rankings", {"chosen": DEEP + " a", "rejected": DEEP + " b\n\nHuman: c"}, "before their last turn"),
    ("rankings", {"chosen": DEEP + " a\n\nAssistant: b", "rejected": DEEP + " a\n\nAssistant: c"}, "does not end"),
    ("rankings", {"prompt": DEEP + " a\n\nAssistant: b\n\nHuman: c", "chosen": "d", "rejected": "e"}, "not alternate"),
    ("rankings", {"prompt": "Who?", "chosen": [*TALK], "rejected": [*ASKED, says("b")]}, "not begin with its prompt"),
    ("rankings", {"messages": ASKED, "ranked": ["a"]}, "two answers or more"),
    ("rankings", {"messages": ASKED, "ranked": ["a", "b", "a"]}, "equal answers with different ranks"),
    ("rankings", {"messages": TALK, "answers": ["a", "b"], "ranks": [1, 2]}, "does not end with the user's turn"),
    ("rankings", {"messages": ASKED, "answers": ["a", "b"], "ranks": [1, 2], "annotators": [[1]]}, "annotators"),
    ("rankings", {"instruction": "?", "response1": "a", "response2": "b", "annotator1": 3}, "0, 1 or 2; got"),
    ("rankings", {"instruction": "?", "response1": True, "response2": "b", "annotator1": 1}, "not text but True"),
    ("rankings", {"question": "?", "preference": [1, 2], "prediction 1": "a", "prediction 2": "b"}, "each of 1 pairs"),
    ("rankings", {"question": "?", "response": "a", "acceptable?": "yes"}, "is 0 or 1"),
    ("conversations", {"messages": [says("Hi"), user("Hm")]}, "do not alternate: assistant, user"),
    ("conversations", {"messages": [user("a"), user("b"), says("c")]}, "do not alternate"),
    ("conversations", {"messages": [user("a"), says(" ")]}, "an empty turn"),
    ("conversations", {"messages": [{"role": "system", "content": "a"}]}, "no question"),
    ("conversations", {"messages": ["What?"]}, "message 0"),
    ("conversations", {"turns": "What?"}, "is not a list"),
    ("conversations", {"instruction": "a", "instances": []}, "holds no example"),
    ("conversations", {"index": 1, "text": "What?"}, r"expected .* the row has index, text"),
    ("conversations", {"message_id": "a", "parent_id": None, "role": "prompter", "text": 3}, '"text" is not text'),
    ("conversations", {"message_tree_id": "a", "prompt": "What?"}, "malformed tree"),
    ("prompts", {"prompt": 3}, "expected a list of messages or a text, got 3; write numbers as text"),
    ("conversations", {"inputs": "a", "Targets": "b"}, 'rename "inputs" to "prompt", "Targets" to "completion"'),
    ("conversations", {"user": "a", "assistant": "b", "n": 1}, '"user" to "prompt", "assistant" to "completion"'),
    ("conversations", {"conversation": TALK, "model": "m"}, 'rename "conversation" to "messages"'),
    ("conversations", {"dialog": ["a", "b"]}, 'rename "dialog" to "turns"'),
    ("conversations", {"data": [{"prompt": "a"}]}, 'if "data" holds the rows, give that list as the file'),
    ("rankings", {"prompt": "p", "better": "a", "worse": "b"}, 'rename "better" to "chosen", "worse" to "rejected"'),
    ("conversations", {"prompt": "a", "completion": 4}, "got 4; write numbers as text"),
    ("conversations", {"prompt": "a", "completion": "b", "label": "False"}, "answer is not wanted"),
    ("conversations", {"messages": [user("a"), None]}, "message 1: None"),
    ("conversations", {"messages": [user("a"), says(None)]}, "message 1: has no text"),
    ("conversations", {"messages": [user({"type": "text", "text": "a"}), says("b")]}, "message 0.*write it as text"),
    ("conversations", {"messages": [user([["a"]]), says("b")]}, "a part of a message is not text"),
    ("conversations", {"messages": [user("a"), says("b"), {"role": "system", "content": "c"}]}, "not alternate"),
    ("conversations", {"messages": [user("a"), says("b"), says("c")]}, "not alternate: user, assistant, assistant"),
    ("conversations", {"messages": [user("a"), {"role": "tool", "content": "b"}]}, "role 'tool'"),
]  # fmt: skip
READERS = {"conversations": conversations, "rankings": rankings, "prompts": prompts}


@pytest.mark.parametrize(("kind", "row", "says"), BAD)
def test_a_row_that_cannot_be_used_is_named_or_counted(tmp_path: Path, kind: str, row: Row, says: str) -> None:
    good = {"prompt": "What?", "chosen": "a", "rejected": "b"}
    path = write(tmp_path, good, row)
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{says}"):
        list(READERS[kind](path))
    report = RowReport()
    [(number, _)] = READERS[kind](path, "skip", report)
    assert number == 1 and report.skipped.total() == 1 and ":2: " in report.examples[0]


def test_a_file_with_nothing_of_use_says_why(tmp_path: Path) -> None:
    path = write(tmp_path, {"en": "Go.", "ko": "가."})
    with pytest.raises(DataError, match=r"holds no conversation; .*rows\.jsonl:1: expected .* the row has en, ko"):
        list(conversations(path, "skip"))


def test_of_a_file_with_forms_of_all_kinds_each_reader_takes_its_own(tmp_path: Path) -> None:
    mixed = (
        {"prompt": "What?", "completion": "b"},
        {"messages": TALK},
        {"prompt": "p", "chosen": "c", "rejected": "r"},
    )
    path = write(tmp_path, *mixed, {"text": "just text"})
    for reader, n_read in ((conversations, 3), (rankings, 1), (prompts, 3)):
        report = RowReport()
        assert len(list(reader(path, "skip", report))) == n_read
        assert report.skipped.total() == 4 - n_read


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    for content in ("", "[]", " \n\n"):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(DataError, match=r"a\.json: holds no conversation; it has no rows"):
            list(conversations(tmp_path / "a.json"))


def node(name: str, parent: str | None, role: str, rank: int | None = None, **more: Any) -> Row:
    return {
        "message_id": name,
        "parent_id": parent,
        "message_tree_id": "t",
        "role": role,
        "text": name,
        "rank": rank,
    } | more


TREE = [
    node("good", "root", "assistant", 0), node("root", None, "prompter"), node("bad", "root", "assistant", 1),
    node("more", "good", "prompter"), node("other", "good", "prompter"), node("under bad", "bad", "prompter"),
    node("end", "more", "assistant"), node("gone", "other", "assistant", deleted=True),
    node("below gone", "gone", "prompter"), node("one", "under bad", "assistant", 0),
    node("two", "under bad", "assistant", 1), node("orphan", "nowhere", "assistant"),
]  # fmt: skip
PATH = [user("root"), says("good"), user("more"), says("end")]


def nested(name: str) -> Row:
    row = next(row for row in TREE if row["message_id"] == name)
    return {**row, "replies": [nested(reply["message_id"]) for reply in TREE if reply["parent_id"] == name]}


@pytest.mark.parametrize("rows", [TREE, [{"message_tree_id": "t", "prompt": nested("root")}]], ids=["flat", "nested"])
def test_trees_give_the_best_path_and_every_ranking(tmp_path: Path, rows: list[Row]) -> None:
    path, report = write(tmp_path, *rows), RowReport()
    [(_, found)] = conversations(path, report=report)
    assert found == {"messages": PATH, "source": "rows", "origin": "human", "tree": "t"}
    if rows is TREE:
        assert report.skipped == {"deleted": 1, "its parent is missing or deleted": 2}
    [(_, first), (_, second)] = rankings(path)
    assert (first["messages"], first["answers"], first["ranks"]) == (PATH[:1], ["good", "bad"], [1, 2])
    assert second["messages"] == [user("root"), says("bad"), user("under bad")]
    assert second["answers"] == ["one", "two"] and second["tree"] == "t"


def test_a_tree_too_deep_or_in_a_circle_is_refused_not_followed(tmp_path: Path) -> None:
    chain = [
        node(str(i), str(i - 1) if i else None, ("prompter", "assistant")[i % 2], i % 2 - 1 or None)
        for i in range(3000)
    ]
    with pytest.raises(DataError, match="more than 200 messages"):
        list(conversations(write(tmp_path, *chain)))
    with pytest.raises(DataError, match="holds no ranking"):
        list(rankings(write(tmp_path, *chain)))
    circle = [node("a", "b", "prompter"), node("b", "a", "assistant")]
    with pytest.raises(DataError, match="it answers itself"):
        list(conversations(write(tmp_path, *circle)))
    report = RowReport()
    tree = [node("q", None, "prompter"), node("r", "q", "assistant")]
    assert len(list(conversations(write(tmp_path, *circle, *tree), "skip", report))) == 1
    assert list(report.skipped.values()) == [2]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"instruction": "What?", "input": "", "response1": "a", "response2": "b", "annotator1": 1}, "instruction"),
        ({"question": "What?", "preference": [1], "prediction 1": "a", "prediction 2": "b"}, "question"),
    ],
)
def test_the_column_that_a_format_names_is_the_prompt(tmp_path: Path, row: Row, named: str) -> None:
    [(_, found)] = rankings(write(tmp_path, {**row, "prompt": "Another thing"}))
    assert found["messages"] == [user(row[named])]


@pytest.mark.parametrize("annotators", [[["a", "b"]], [[1.5, 2]], [[1]], [[True, 2]], "1 2"])
def test_what_annotators_said_are_ranks(tmp_path: Path, annotators: Any) -> None:
    row = {"messages": ASKED, "answers": ["a", "b"], "ranks": [1, 2], "annotators": annotators}
    with pytest.raises(DataError, match="needs a list of 2 ranks for each person"):
        list(rankings(write(tmp_path, row)))


def test_labels_of_one_question_make_a_ranking(tmp_path: Path) -> None:
    rows = [
        {"question": question, "response": answer, "acceptable?": label}
        for question, answer, label in [
            ("왜?", "a", 0),
            ("왜?", "b", 1),
            ("뭐?", "c", 1),
            ("왜?", "d", 1),
            ("뭐?", "e", 1),
        ]
    ]
    report = RowReport()
    [(number, found)] = rankings(write(tmp_path, *rows), report=report)
    assert (number, found["answers"], found["ranks"]) == (1, ["a", "b", "d"], [2, 1, 1])
    assert list(report.skipped.values()) == [1]


def test_one_question_is_one_tree_in_whatever_case_and_space() -> None:
    assert tree_of([user("What  is\nit?")]) == tree_of(
        [{"role": "system", "content": "x"}, user("what is IT?"), says("y")]
    )
    assert tree_of([user("What is it")]) != tree_of([user("What is it?")])


NAMES = sorted(
    {name for form in FORMATS for name in form.columns} | {"input", "parent_id", "rank", "replies", "deleted"}
)
SCRAPS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.floats()
    | st.sampled_from(["", "a", "\n\nHuman: x", "user", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "text", "replies", "role"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.dictionaries(st.sampled_from(NAMES), SCRAPS, max_size=7) | SCRAPS, min_size=1, max_size=3))
def test_anything_is_either_well_formed_or_refused(tmp_path: Path, rows: list[Any]) -> None:
    path = write(tmp_path, *rows)
    for read in READERS.values():
        try:
            found = [row for _, row in read(path, "skip")]
        except DataError as error:
            assert "rows.jsonl" in str(error)
            continue
        for row in found:
            check_messages(row["messages"])
            assert "answers" not in row or len(row["answers"]) == len(row["ranks"]) >= 2
            json.dumps(row, ensure_ascii=False).encode()


SAID = st.text(min_size=1).map(str.strip).filter(lambda said: not is_blank(said) and "\n\n" not in said)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(turns=st.lists(SAID, min_size=1, max_size=6))
def test_transcripts_are_split_at_every_turn(tmp_path: Path, turns: list[str]) -> None:
    turns = turns[: len(turns) // 2 * 2 - 1] if len(turns) > 1 else turns
    speakers = [("Human", "Assistant")[i % 2] for i in range(len(turns))]
    before = "".join(f"\n\n{speaker}: {turn}" for speaker, turn in zip(speakers, turns, strict=True))
    pair = {"chosen": f"{before}\n\nAssistant: a", "rejected": f"{before}\n\nAssistant: b"}
    [(_, found)] = rankings(write(tmp_path, pair))
    assert [turn["content"] for turn in found["messages"]] == turns and found["answers"] == ["a", "b"]


@pytest.mark.parametrize("tree", [1, 0, 1.0, 2**70, True, "t1"])
@pytest.mark.parametrize("name", ["tree", "message_tree_id"])
def test_any_scalar_groups_rows(tmp_path: Path, name: str, tree: Any) -> None:
    rows = [{"question": question, "answer": "A cat.", name: tree} for question in ("What?", "Who?")]
    first, second = (row["tree"] for _, row in conversations(write(tmp_path, *rows)))
    assert first == second == str(int(tree) if isinstance(tree, float) else tree)


@pytest.mark.parametrize("value", [[1], {}, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["tree", "message_tree_id", "source", "message_id", "parent_id"])
def test_what_is_no_id_is_refused_by_line(tmp_path: Path, name: str, value: Any) -> None:
    row = {**node("a", None, "prompter"), name: value} if "_id" in name else {"messages": TALK, name: value}
    with pytest.raises(DataError, match=rf'rows\.jsonl:1: "{name}" is not an id'):
        list(conversations(write(tmp_path, row, node("b", "a", "assistant"))))


def test_one_question_is_one_tree_in_either_unicode_form() -> None:
    question = "말모이는 무엇인가요?"
    assert tree_of([user(question)]) == tree_of([user(unicodedata.normalize("NFD", f"\u200b{question}"))])


def test_a_file_without_rows_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n \n")
    with pytest.raises(DataError, match="holds no conversation; it has no rows"):
        list(conversations(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize("answer", ["\u200b", "\x07\x1b", "\u3164"])
def test_an_answer_that_nobody_can_see_is_empty(tmp_path: Path, answer: str) -> None:
    with pytest.raises(DataError, match="an empty"):
        list(conversations(write(tmp_path, {"prompt": "What?", "completion": answer})))
    with pytest.raises(DataError, match="an empty"):
        list(rankings(write(tmp_path, {"prompt": "What?", "chosen": answer, "rejected": "b"})))


def test_answers_that_differ_in_spelling_alone_are_the_same(tmp_path: Path) -> None:
    chosen = "사전이다."
    row = {"prompt": "What?", "chosen": chosen, "rejected": unicodedata.normalize("NFD", chosen)}
    with pytest.raises(DataError, match="are the same"):
        list(rankings(write(tmp_path, row)))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            {"prompt": "What?", "chosen": "a", "rejected": None},
            '"rejected" is null; it is needed with chosen',
        ),
        ({"messages": ASKED, "answers": ["a", "b"]}, '"ranks" is missing; it is needed with answers, messages'),
    ],
)
def test_a_row_that_is_almost_of_a_form_is_told_what_it_lacks(tmp_path: Path, row: Row, says: str) -> None:
    with pytest.raises(DataError, match=says):
        list(rankings(write(tmp_path, row)))


def test_a_question_beside_whole_conversations(tmp_path: Path) -> None:
    row = {"question": "What?", "chosen": [*ASKED, says("a")], "rejected": [*ASKED, says("b")]}
    [(_, found)] = rankings(write(tmp_path, row))
    assert (found["messages"], found["answers"]) == (ASKED, ["a", "b"])
