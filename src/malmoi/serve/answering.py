"""Make an answer of a chat in the background, and store it."""

import asyncio

from malmoi.feedback.chats import NewMessage, add_message
from malmoi.serve.errors import envelope, refusal_of
from malmoi.serve.making import Making
from malmoi.serve.state import State


async def make(state: State, making: Making, person_id: str, chat_id: str, parent: str, answer_id: str) -> None:
    """Make an answer and store it; the last event says how it ended."""
    turn = making.turn
    try:
        await making.speak()
        error = making.failure()
        answered = await state.prepare(turn.settle)
        said = answered.text
        # One that ended by itself is the model's even if it says nothing; of one that broke off there may be nothing.
        is_whole = turn.finish not in ("stopped", "error")
        message = NewMessage(
            answer_id, parent, "assistant", said, turn.finish, envelope(error)["error"] if error else None,
            turn.figures(answered) | {"voice": answered.voice}, turn.record(answered) if said or is_whole else None,
        )  # fmt: skip
        stored, _ = await asyncio.to_thread(add_message, state.ledger, person_id, chat_id, message)
        if error is None:
            making.text = "" if turn.is_checked else making.text
            making.end = {"type": "done", "message": stored}
        else:
            making.end = {"type": "error", "error": envelope(error)["error"], "message": stored}
    except Exception as caught:
        making.end = {"type": "error", "error": envelope(refusal_of(caught))["error"], "message": None}
    finally:
        making.stop()
        state.makings.pop(answer_id, None)
        state.at_once.free(person_id)
        making.changed.set()
