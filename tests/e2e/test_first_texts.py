"""What a person tries first: a handful of short notes, from the folder to the report."""

import json
import subprocess
import sys
from pathlib import Path

from malmoi.files import write_text

NOTES = {
    "meeting.md": "# Monday\n\nWe talked about the new garden. Anna wants tomatoes at the wall. Ben has tools.\n",
    "책.md": "# 읽은 책\n\n어제 새 책을 다 읽었다. 주인공은 작은 섬에서 혼자 살았다. 마지막 장면이 오래 남는다.\n",
    "soup.md": "# Soup\n\nCut two onions and one carrot. Cook them slowly in butter. Add water and salt.\n",
    "산책.md": "# 산책\n\n아침에 강가를 걸었다. 물안개가 피어 있었고 새가 울었다. 내일도 같은 길을 걸을 것이다.\n",
    "ideas.md": "# Ideas\n\nA small bell for the bicycle would help. The shelf needs a board. Ask for a train.\n",
}
TINY = {
    "pretrain": "copying=false n_steps=4 batch_size=2 model.n_layer=1 model.n_embd=32 model.n_head=2 "
    "model.n_kv_head=1 model.head_dim=16 model.n_ff=48",
    "sft": "n_steps=3 batch_size=8 micro_batch_size=8",
    "reward": "n_steps=2 batch_size=4",
    "sample": "max_tokens=32",
    "rank": "tie_margin=0",
    "ppo": "n_iterations=1 batch_size=8 micro_batch_size=8 n_minibatches=2 max_tokens=6",
    "eval": "max_tokens=6",
}


def demo(text: Path, workspace: Path, code: int = 0, **changed: str) -> str:
    settings = [f"{stage}.{one}" for stage, given in (TINY | changed).items() for one in given.split()]
    words = ["demo", "--text", text, "--workspace", workspace, "--size", "small"]
    words += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "malmoi", *map(str, words)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_five_short_notes_become_an_assistant_with_a_report(tmp_path: Path) -> None:
    for name, text in NOTES.items():
        write_text(tmp_path / "notes" / name, text)
    (tmp_path / "notes" / "old.txt").write_bytes("옛날 파일이다.".encode("cp949"))
    said = demo(tmp_path / "notes", tmp_path / "w")
    assert "in 5 documents (3 English, 2 Korean)" in said and "the facts come from look-up" in said
    assert "passed over: 1 × not UTF-8" in said and "old.txt: not UTF-8 at byte 0" in said
    assert "5 documents" in said and "enough to try every stage" in said
    assert "tokenizer.vocab_size is 2,048; the text gives no more than" in said
    assert "they are repeated" in said
    report = json.loads((tmp_path / "w" / "report.json").read_text())
    assert report["sft"]["exact_sft"]["n"] > 0 and report["ppo"]["gold_ppo"]["n"] > 0
    assert "<html" in (tmp_path / "w" / "report.html").read_text()


def test_lists_are_asked_about_and_text_without_anything_to_ask_is_refused_at_once(tmp_path: Path) -> None:
    for n in range(3):
        write_text(tmp_path / "notes" / f"{n}.md", f"# 할 일 {n}\n\n- 우유 {n}개 사기\n- 전화하기 {n}\n- 빨래 {n}시\n")
        write_text(tmp_path / "numbers" / f"{n}.txt", f"{n} 2 3\n4 5 {n}\n")
    said = demo(tmp_path / "notes", tmp_path / "w", rank="tie_margin=1")
    assert "3 things to ask about" in said and "report  " in said
    assert "alarm: all answers to each prompt tie" in said and "reward  left out: all answers" in said
    assert "ppo  left out: needs what reward makes" in said and "malmoi chat sft" in said
    refused = demo(tmp_path / "numbers", tmp_path / "x", code=2)
    assert "no questions can be made of this text" in refused and "malmoi ask" in refused
    assert not (tmp_path / "x").exists()
