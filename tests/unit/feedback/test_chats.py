"""Chats: trees of messages that nobody changes, and that only their person reads."""

import unicodedata

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from malmoi.feedback import chat_files, chats
from malmoi.feedback.accounts import add_member, remove_member
from malmoi.feedback.chats import NewMessage, new_id
from malmoi.feedback.refusals import RefusedError
from malmoi.workspace.answers import NewAnswer
from malmoi.workspace.database import writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Answer
from malmoi.workspace.service_schema import Chat, ChatMessage

SOURCE = {"file": "a.md", "heading": "# A", "line": 3, "place": "", "sentence": "So.", "score": 0.9, "document": "d"}


@pytest.fixture
def mina(ledger: Ledger) -> str:
    return add_member(ledger, "Mina", "correct horse", "owner").id


@pytest.fixture
def ann(ledger: Ledger, mina: str) -> str:
    return add_member(ledger, "Ann", "correct horse", "user").id


@pytest.fixture
def chat(ledger: Ledger, mina: str) -> str:
    return str(chats.create_chat(ledger, mina, may_teach=False)[0]["id"])


def say(ledger: Ledger, who: str, chat: str, words: str, parent: str | None = None) -> str:
    message = NewMessage(new_id(), parent, "user", words)
    return str(chats.add_message(ledger, who, chat, message)[0]["id"])


def answer(ledger: Ledger, who: str, chat: str, words: str, parent: str, finish: str = "stop") -> str:
    recorded = NewAnswer([{"role": "user", "content": "?"}], words, "ppo", "a" * 64, sources=[SOURCE], supported=True)
    figures = {"n_tokens": 3, "passages": ["So it is."]}
    message = NewMessage(new_id(), parent, "assistant", words, finish, None, figures, recorded if words else None)
    return str(chats.add_message(ledger, who, chat, message)[0]["id"])


def test_a_conversation_is_the_branch_that_ends_with_a_message(ledger: Ledger, mina: str, chat: str) -> None:
    first = say(ledger, mina, chat, "하나")
    one, other = (answer(ledger, mina, chat, words, first) for words in ("one", "other"))
    edited = say(ledger, mina, chat, "두 번째", one)
    say(ledger, mina, chat, "elsewhere", other)
    chats.change_chat(ledger, mina, chat, {"system": "Be short."})
    assert chats.conversation(ledger, mina, chat, edited) == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "하나"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "두 번째"},
    ]
    assert chats.get_chat(ledger, mina, chat)["title"] == "하나"


def test_a_question_without_an_answer_is_left_out(ledger: Ledger, mina: str, chat: str) -> None:
    first = say(ledger, mina, chat, "first")
    failed = answer(ledger, mina, chat, "", first, "error")
    second = say(ledger, mina, chat, "second", failed)
    assert chats.conversation(ledger, mina, chat, second) == [{"role": "user", "content": "second"}]


def test_the_same_message_twice_is_stored_once(ledger: Ledger, mina: str, chat: str) -> None:
    message = NewMessage(new_id(), None, "user", "hello")
    stored, is_new = chats.add_message(ledger, mina, chat, message)
    assert is_new and chats.add_message(ledger, mina, chat, message) == (stored, False)
    with pytest.raises(RefusedError, match="another message has this id"):
        chats.add_message(ledger, mina, chat, NewMessage(message.id, None, "user", "other words"))
    elsewhere = str(chats.create_chat(ledger, mina, may_teach=False)[0]["id"])
    with pytest.raises(RefusedError, match="another message has this id"):
        chats.add_message(ledger, mina, elsewhere, message)


def test_the_database_refuses_to_change_a_message(ledger: Ledger, mina: str, chat: str) -> None:
    say(ledger, mina, chat, "hello")
    with pytest.raises(DBAPIError, match="a message is never updated"), writing(ledger.engine) as connection:
        connection.execute(text("UPDATE chat_message SET role = 'assistant'"))


def test_a_chat_exists_for_its_person_only(ledger: Ledger, mina: str, ann: str, chat: str) -> None:
    first = say(ledger, mina, chat, "secret")
    for act in (
        lambda: chats.get_chat(ledger, ann, chat),
        lambda: chats.messages_of(ledger, ann, chat),
        lambda: chats.get_message(ledger, ann, first),
        lambda: chats.change_chat(ledger, ann, chat, {"title": "mine"}),
        lambda: chats.delete_chat(ledger, ann, chat),
        lambda: say(ledger, ann, chat, "hello"),
        lambda: chats.conversation(ledger, ann, chat, first),
        lambda: chat_files.export_chats(ledger, ann, chat),
        lambda: chats.get_chat(ledger, mina, new_id()),
    ):
        with pytest.raises(RefusedError, check=lambda error: error.code == "not_found"):
            act()
    assert chats.list_chats(ledger, ann, "secret") == ([], None)
    with pytest.raises(RefusedError, match="another chat has this id"):
        chats.create_chat(ledger, ann, may_teach=True, id=chat)


@pytest.mark.parametrize("parent", ["user", "elsewhere", "none"])
def test_a_message_follows_one_of_the_other_role_in_its_chat(ledger: Ledger, mina: str, chat: str, parent: str) -> None:
    other = str(chats.create_chat(ledger, mina, may_teach=False)[0]["id"])
    ids = {"user": say(ledger, mina, chat, "a"), "elsewhere": say(ledger, mina, other, "b"), "none": new_id()}
    role = "user" if parent == "user" else "assistant"
    with pytest.raises(RefusedError, check=lambda error: error.param == "parent"):
        chats.add_message(ledger, mina, chat, NewMessage(new_id(), ids[parent], role, "c"))


@pytest.mark.parametrize("words", ["", "  \n", "a\0b", "x\ud800", "x" * (chats.LONGEST_TEXT + 1)])
def test_words_that_are_none_are_refused(ledger: Ledger, mina: str, chat: str, words: str) -> None:
    with pytest.raises(RefusedError, check=lambda error: error.param == "text"):
        say(ledger, mina, chat, words)
    assert chats.messages_of(ledger, mina, chat) == []


def test_an_answer_may_hold_what_only_a_network_writes(ledger: Ledger, mina: str, chat: str) -> None:
    answered = answer(ledger, mina, chat, "a\0b", say(ledger, mina, chat, "?"))
    found = chats.get_message(ledger, mina, answered)
    assert found["text"] == "a\0b" and found["answer"]["name"] == "answer-1"
    assert found["answer"]["sources"] == [{**SOURCE, "passage": "So it is."}]
    assert (found["answer"]["hash"], found["answer"]["n_tokens"]) == ("a" * 64, 3)


@pytest.mark.parametrize("wanted", ["낱말", 'a "quoted" line', "100%", "under_score", "back\\slash", "UPPER"])
def test_search_finds_what_was_written(ledger: Ledger, mina: str, chat: str, wanted: str) -> None:
    say(ledger, mina, chat, "other words, 100 under score")
    hit = str(chats.create_chat(ledger, mina, may_teach=False)[0]["id"])
    first = say(ledger, mina, hit, "x")
    answer(ledger, mina, hit, f"before\n{wanted.lower()} after", first)
    found, _ = chats.list_chats(ledger, mina, wanted)
    assert [(row["id"], wanted.lower() in row["excerpt"]) for row in found] == [(hit, True)]


def test_a_long_list_comes_in_parts(ledger: Ledger, mina: str) -> None:
    made = [chats.create_chat(ledger, mina, may_teach=False)[0]["id"] for _ in range(5)]
    seen: list[str] = []
    before: str | None = None
    for _ in range(3):
        rows, before = chats.list_chats(ledger, mina, before=before, limit=2)
        seen += [row["id"] for row in rows]
    assert seen == made[::-1] and before is None
    for odd in ("x", "2026-01-01~", "2026-01-01T00:00:00~a"):
        with pytest.raises(RefusedError, check=lambda error: error.param == "before"):
            chats.list_chats(ledger, mina, before=odd)


def test_a_deleted_chat_leaves_nothing(ledger: Ledger, mina: str, ann: str, chat: str) -> None:
    answer(ledger, mina, chat, "gone", say(ledger, mina, chat, "gone too"))
    kept = str(chats.create_chat(ledger, ann, may_teach=False)[0]["id"])
    answer(ledger, ann, kept, "kept", say(ledger, ann, kept, "?"))
    chats.delete_chat(ledger, mina, chat)
    with ledger.engine.connect() as connection:
        left = [connection.scalar(select(func.count()).select_from(table)) for table in (Chat, ChatMessage, Answer)]
    assert left == [1, 2, 1]
    remove_member(ledger, ann)
    with ledger.engine.connect() as connection:
        left = [connection.scalar(select(func.count()).select_from(table)) for table in (Chat, ChatMessage, Answer)]
    assert left == [0, 0, 0]


def test_no_answer_gets_the_number_of_one_that_was_deleted(ledger: Ledger, mina: str, ann: str, chat: str) -> None:
    answer(ledger, mina, chat, "gone", say(ledger, mina, chat, "?"))
    with ledger.engine.connect() as connection:
        gone = connection.scalar(select(func.max(Answer.id)))
    chats.delete_chat(ledger, mina, chat)
    kept = str(chats.create_chat(ledger, ann, may_teach=False)[0]["id"])
    answer(ledger, ann, kept, "kept", say(ledger, ann, kept, "?"))
    with ledger.engine.connect() as connection:
        assert connection.scalars(select(Answer.id)).all() == [gone + 1]  # type: ignore[operator]


def test_a_file_of_chats_comes_back_as_it_was(ledger: Ledger, mina: str, ann: str, chat: str) -> None:
    first = say(ledger, mina, chat, "하나")
    answer(ledger, mina, chat, "one", first)
    other = answer(ledger, mina, chat, "", first, "error")
    chats.change_chat(ledger, mina, chat, {"sampling": {"temperature": 0.5}, "may_teach": True, "head": other})
    file = chat_files.export_chats(ledger, mina)
    assert chat_files.import_chats(ledger, ann, file["chats"]) == {"n_chats": 1, "n_messages": 3, "n_left_out": 0}
    (back,) = chat_files.export_chats(ledger, ann)["chats"]
    assert (back["title"], back["sampling"], back["may_teach"]) == ("하나", {"temperature": 0.5}, False)
    assert back["updated_at"] == file["chats"][0]["updated_at"] and back["id"] != chat
    texts = [(one["role"], one["text"], one["finish"]) for one in back["messages"]]
    assert texts == [("user", "하나", None), ("assistant", "one", "stop"), ("assistant", "", "error")]
    assert [one["parent"] for one in back["messages"]] == [None] + [back["messages"][0]["id"]] * 2
    assert back["head"] == back["messages"][2]["id"]
    assert back["messages"][1]["answer"]["voice"] == "ppo (imported)"
    assert back["messages"][1]["answer"]["hash"] is None


@pytest.mark.parametrize(
    "messages",
    ["x", [1], [{"id": "a", "role": "system", "text": "x"}], [{"id": "a", "role": "user", "text": "x", "parent": "b"}],
     [{"id": "a", "role": "assistant", "text": "x"}], [{"id": "a", "role": "user", "text": ""}],
     [{"id": "a", "role": "user", "text": "x"}, {"id": "a", "role": "assistant", "text": "x", "parent": "a"}],
     [{"id": "a", "role": "user", "text": "x", "finish": "odd"}],
     [{"id": "a", "role": "user", "text": "x", "parent": []}],
     [{"id": "a", "role": "user", "text": "x"}, {"id": "b", "role": "assistant", "text": "\ud800", "parent": "a"}]],
)  # fmt: skip
def test_a_file_that_cannot_be_read_adds_nothing(ledger: Ledger, mina: str, messages: object) -> None:
    good = {"title": "good", "messages": [{"id": "a", "role": "user", "text": "hello"}]}
    with pytest.raises(RefusedError, check=lambda error: str(error.param).startswith("chats.1")):
        chat_files.import_chats(ledger, mina, [good, {"messages": messages}])
    with pytest.raises(RefusedError, check=lambda error: error.param == "chats.1"):
        chat_files.import_chats(ledger, mina, [good, 1])  # type: ignore[list-item]  # a file may hold anything
    assert chats.list_chats(ledger, mina) == ([], None)


@pytest.mark.parametrize(
    ("words", "title"),
    [("short", "short"), ("  many\n spaces ", "many spaces"), ("x" * 70, "x" * 59 + "…"),
     ("word " * 20, "word " * 11 + "word…")],
)  # fmt: skip
def test_a_title_is_the_beginning(words: str, title: str) -> None:
    assert chats.title_of(words) == title


def webui(**messages: dict[str, object]) -> dict[str, object]:
    whole = {id: {"id": id, "timestamp": 1_700_000_000, "content": id, **row} for id, row in messages.items()}
    return {"id": "x", "title": "낱말", "chat": {"title": "낱말", "history": {"messages": whole, "currentId": "b"}}}


def test_chats_of_open_webui_come_in_with_their_branches(ledger: Ledger, mina: str) -> None:
    user, answer = {"role": "user"}, {"role": "assistant", "model": "llama3:8b"}
    given = webui(
        b={**answer, "parentId": "q"}, q={**user, "parentId": None}, a={**answer, "parentId": "q"},
        odd={"role": "system", "parentId": "a"}, below={**user, "parentId": "odd"},
        next={**user, "parentId": "a", "content": "더?"}, loop={**user, "parentId": "loop"},
    )  # fmt: skip
    assert chat_files.import_chats(ledger, mina, [given]) == {"n_chats": 1, "n_messages": 4, "n_left_out": 3}
    (chat,) = chat_files.export_chats(ledger, mina)["chats"]
    texts = {one["id"]: one["text"] for one in chat["messages"]}
    shape = [(one["text"], texts.get(one["parent"]), one["finish"]) for one in chat["messages"]]
    assert shape == [("q", None, None), ("b", "q", "stop"), ("a", "q", "stop"), ("더?", "a", None)]
    assert (chat["title"], texts[chat["head"]], chat["may_teach"]) == ("낱말", "b", False)
    assert chat["messages"][1]["answer"]["voice"] == "llama3:8b (imported)"
    assert chat["created_at"] == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(
    "chat",
    [
        1,
        {},
        {"history": 1},
        {"history": {"messages": [1]}},
        {"history": {"messages": {"a": 1}}},
        {"history": {"messages": {"a": {"role": "user", "content": "x", "parentId": []}}}},
    ],
)
def test_a_file_of_open_webui_that_cannot_be_read_adds_nothing(ledger: Ledger, mina: str, chat: object) -> None:
    with pytest.raises(RefusedError, check=lambda error: str(error.param).startswith("chats.1.chat.history")):
        chat_files.import_chats(ledger, mina, [webui(q={"role": "user", "parentId": None}), {"chat": chat}])
    assert chats.list_chats(ledger, mina) == ([], None)


def test_an_answer_of_a_file_is_known_with_its_question(ledger: Ledger, mina: str, ann: str, chat: str) -> None:
    answer(ledger, mina, chat, "one", say(ledger, mina, chat, "하나"))
    odd = {"created_at": "0001-01-01T00:00:00+14:00", "updated_at": "9999-12-31T23:59:59-14:00"}
    for _ in range(2):  # out and in again: its voice is marked once
        (row,) = chat_files.export_chats(ledger, mina)["chats"]
        chats.delete_chat(ledger, mina, row["id"])
        chat_files.import_chats(ledger, mina, [row | odd])
    with ledger.engine.connect() as connection:
        (known,) = connection.execute(select(Answer.voice, Answer.messages)).all()
    assert tuple(known) == ("ppo (imported)", [{"role": "user", "content": "하나"}])


def test_korean_is_found_however_it_was_typed(ledger: Ledger, mina: str, chat: str) -> None:
    say(ledger, mina, chat, unicodedata.normalize("NFD", "우리 말모이 사전"))
    for form in ("NFC", "NFD"):
        (found,), _ = chats.list_chats(ledger, mina, unicodedata.normalize(form, "말모이"))
        assert unicodedata.normalize("NFC", found["excerpt"]) == "우리 말모이 사전"
