"""A stand-in for vLLM: its four routes over HTTP, with our own engine inside. It is not vLLM.

What the real one answers was compared with `benchmarks/vllm_side.py`. It can be made busy, break, die and come back
with the weights that it was started with.
"""

import json
import socket
import struct
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from malmoi.formats.folder import load_model, read_weights
from malmoi.formats.huggingface import to_ours
from malmoi.formats.locate import CONFIG, WEIGHTS
from malmoi.inference.engine import Engine
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel

AWAY = 3
HOW = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


class VllmStandIn:
    """A server of a model folder. Use as a context.

    name: what it calls the model; dev: whether it takes other weights
    n_busy, n_broken: completions that are refused with 429, and with 500, from now on
    dies_after: completions until it dies, and all connections break; None: never. It is back some requests later, with
    its first weights, or with those of `back_with`
    dies_at: tokens of the last answer that are still sent, if it streams
    forgets: leave out this key of what it answers; deaf: take other weights, and keep the old ones
    """

    def __init__(self, folder: Path, name: str = "", *, dev: bool = True) -> None:
        self.folder, self.name, self.dev = folder, name or str(folder), dev
        self.n_busy = self.n_broken = self.n_asked = self.n_loads = self.n_deaths = self.n_away = 0
        self.dies_after: int | None = None
        self.dies_at = 0
        self.back_with: LanguageModel | None = None
        self.forgets, self.deaf = "", False
        self.lock = threading.Lock()
        self.start()

    def start(self) -> None:
        self.model = self.back_with or load_model(self.folder, LanguageModel)

    def __enter__(self) -> "VllmStandIn":
        outer = self

        class Handler(_Handler):
            stand_in = outer

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def models(self) -> dict[str, Any]:
        return {"data": [{"id": self.name, "root": str(self.folder), "max_model_len": self.model.config.seq_len}]}

    def load(self, folder: Path) -> None:
        self.n_loads += 1
        if self.deaf:
            return
        if (folder / CONFIG).exists():
            self.model = load_model(folder, LanguageModel)
        else:
            self.model.load_state_dict(to_ours(read_weights(folder / WEIGHTS), self.model.config))

    def choice(self, asked: dict[str, Any]) -> dict[str, Any]:
        """An answer, in one piece."""
        with self.lock:
            if "prompt_logprobs" in asked:
                return {"token_ids": [0], "finish_reason": "length", "prompt_logprobs": self._of_prompt(asked)}
            how = Sampling(
                **{name: asked[name] for name in HOW}, max_tokens=asked["max_tokens"],
                logprobs=asked.get("logprobs", -1), logit_bias={int(t): b for t, b in asked["logit_bias"].items()},
            )  # fmt: skip
            engine = Engine(self.model, end_ids=asked["stop_token_ids"], n_rows=1)
            request = engine.submit(asked["prompt"], how, asked["seed"])
            engine.finish()
        choice: dict[str, Any] = {"token_ids": request.answer.sampled, "finish_reason": request.finish_reason}
        if how.logprobs >= 0:
            rows = request.logprobs
            top = [{f"token_id:{token}": logprob for token, logprob in row.top.items()} for row in rows]
            choice["logprobs"] = {"token_logprobs": [row.logprob for row in rows], "top_logprobs": top}
        return choice

    @torch.no_grad()
    def _of_prompt(self, asked: dict[str, Any]) -> list[Any]:
        ids = torch.tensor([asked["prompt"]])
        logps = self.model.logps(ids[:, :-1], ids[:, 1:], torch.ones_like(ids[:, 1:], dtype=torch.bool))[0][0]
        said = zip(asked["prompt"][1:], logps.tolist(), strict=True)
        return [None, *({str(token): {"logprob": logp}} for token, logp in said)]


class _Handler(BaseHTTPRequestHandler):
    stand_in: VllmStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self._is_away():
            self._break()
            return
        self._answer(self.stand_in.models() if self.path == "/v1/models" else None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked, here = json.loads(body) if body else {}, self.stand_in
        if self._is_away():
            self._break()
            return
        if self.path == "/v1/completions":
            self._complete(asked)
        elif self.path == "/collective_rpc" and here.dev:
            with here.lock:
                try:
                    here.load(Path(asked["kwargs"]["weights_path"]))
                except Exception as error:
                    self._answer({"error": {"message": f"Worker failed with error {error!r}"}}, 500)
                    return
            self._answer({"results": [None]})
        elif self.path == "/reset_prefix_cache" and here.dev:
            self._answer({"success": True})
        else:
            self._answer(None)

    def _complete(self, asked: dict[str, Any]) -> None:
        here = self.stand_in
        if "prompt_logprobs" not in asked:
            here.n_asked += 1
            for name, status in (("n_busy", 429), ("n_broken", 500)):
                if left := getattr(here, name):
                    setattr(here, name, left - 1)
                    self._answer({"error": {"message": "not now"}}, status)
                    return
        if max(asked["prompt"]) >= here.model.config.vocab_size:
            self._answer({"error": {"message": "Token id is out of vocabulary"}}, 400)
            return
        n_deaths, choice = here.n_deaths, here.choice(asked)
        choice.pop(here.forgets, None)
        dies = self._dies(asked)
        if here.n_deaths - dies > n_deaths:  # it died while it worked on this one
            self._break()
            return
        if asked.get("stream"):
            self._stream(choice, here.dies_at if dies else None)
        elif not dies:
            self._answer({"choices": [choice]})
        if dies:
            self._break()

    def _dies(self, asked: dict[str, Any]) -> bool:
        here = self.stand_in
        with here.lock:
            if "prompt_logprobs" in asked or here.dies_after is None:
                return False
            if here.dies_after > 0:
                here.dies_after -= 1
                return False
            here.dies_after, here.n_deaths, here.n_away = None, here.n_deaths + 1, AWAY
            here.start()
        return True

    def _is_away(self) -> bool:
        here = self.stand_in
        with here.lock:
            here.n_away = max(0, here.n_away - (self.command == "GET"))
            return here.n_away > 0

    def _stream(self, choice: dict[str, Any], until: int | None) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        ids, logprobs = choice["token_ids"], choice.get("logprobs")
        for place, token in enumerate(ids[:until]):
            piece = {"token_ids": [token], "finish_reason": choice["finish_reason"] if place == len(ids) - 1 else None}
            if logprobs:
                piece["logprobs"] = {name: [values[place]] for name, values in logprobs.items()}
            with suppress(OSError):
                self.wfile.write(f"data: {json.dumps({'choices': [piece]})}\n\n".encode())
        if until is None:
            with suppress(OSError):
                self.wfile.write(b"data: [DONE]\n\n")

    def _break(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _answer(self, row: dict[str, Any] | None, status: int = 200) -> None:
        data = json.dumps({"detail": "Not Found"} if row is None else row).encode()
        self.send_response(404 if row is None else status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(data)
