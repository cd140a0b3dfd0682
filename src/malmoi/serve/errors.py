"""Errors as HTTP: one envelope, that of OpenAI's API, with the kind as `code` and the figures of the sentence."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from malmoi.errors import (
    BusyError,
    CheckpointError,
    ConfigError,
    DataError,
    TooLargeError,
    UserError,
    WorkspaceError,
    without_folders,
)
from malmoi.feedback.refusals import RefusedError
from malmoi.files import is_disk_full
from malmoi.inference.vllm.server import ServerError
from malmoi.serve.pages import is_for_programs, page
from malmoi.workspace.locks import InUseError
from malmoi.workspace.versions import ChangedError

log = logging.getLogger("malmoi.serve")

STATUS = {
    "not_signed_in": 401, "wrong_login": 401, "invalid_api_key": 401, "wrong_setup_link": 403, "not_allowed": 403,
    "other_origin": 403, "wrong_host": 421, "not_found": 404, "model_not_found": 404, "not_this_method": 405,
    "conflict": 409, "worse": 409, "not_known_yet": 409, "missing": 409, "nothing_earlier": 409, "in_service": 409,
    "nothing_to_compare": 409, "regressed": 409,
    "stopped": 409, "name_taken": 409, "lease_lost": 409,
    "too_large": 413, "not_json": 415, "invalid": 422,
    "too_long": 422, "context_length_exceeded": 400, "too_many_logins": 429, "too_many_requests": 429,
    "too_many_drawings": 429,
    "model_failed": 500, "model_too_large": 503, "internal": 500, "busy": 503, "no_model": 503, "storage": 503,
    "too_slow": 408, "disk_full": 507,
    "no_picture_model": 503, "cannot_draw": 422, "too_many_pictures": 409,
}  # fmt: skip
TRY_AGAIN_S = 2


def refusal_of(error: Exception) -> RefusedError:
    """Any exception as a refusal. Our own faults are logged, and their details are not sent."""
    if isinstance(error, RefusedError):
        return error
    if is_disk_full(error):
        return RefusedError("disk_full", "the disk is full; free some space and try again")
    if isinstance(error, BusyError):
        return RefusedError("busy", "too many answers are asked for at once; try again soon")
    if isinstance(error, TooLargeError):
        gb = {"needed_gb": round(error.needed_bytes / 1e9, 2), "free_gb": round(error.free_bytes / 1e9, 2)}
        return RefusedError("model_too_large", str(error), None, **gb)
    if isinstance(error, MemoryError):
        return RefusedError("model_failed", "the memory is full; a smaller model or a shorter conversation needs less")
    if isinstance(error, ChangedError):
        return RefusedError("conflict", str(error))
    if isinstance(error, InUseError):
        return RefusedError("busy", "somebody else changes this just now; try again soon")
    # The whole message goes to the log; `envelope` sends it without places of this machine.
    log.error("%s: %s", type(error).__name__, error, exc_info=None if isinstance(error, UserError) else error)
    if isinstance(error, CheckpointError | ServerError):
        return RefusedError("model_failed", "the model in service cannot answer; the server's log says why")
    if isinstance(error, WorkspaceError):
        return RefusedError("storage", "the database cannot be reached now; nothing was stored, try again")
    if isinstance(error, ConfigError | DataError):
        return RefusedError("invalid", str(error))
    return RefusedError("internal", "something went wrong in the server; its log says what")


def envelope(error: RefusedError) -> dict[str, Any]:
    """{"error": …} as every route gives it. Files of this machine have their names in it, and not their places."""
    status = STATUS.get(error.code, 400)
    kind = "server_error" if status >= 500 else "invalid_request_error"
    inside = {"message": without_folders(str(error)), "type": kind, "param": error.param, "code": error.code}
    details = {
        name: without_folders(value) if isinstance(value, str) else value for name, value in error.details.items()
    }
    return {"error": inside | {"details": details}}


OPENAI = {"invalid": (400, None), "too_long": (400, "context_length_exceeded"), "not_json": (400, None),
          "cannot_draw": (400, None),
          "not_signed_in": (401, "invalid_api_key"), "too_many_requests": (429, "rate_limit_exceeded"),
          "too_many_drawings": (429, "rate_limit_exceeded")}  # fmt: skip
"""What OpenAI's API calls some refusals, and their status there."""


def openai_envelope(error: RefusedError) -> dict[str, Any]:
    """The same as its clients know it."""
    inside = envelope(error)["error"]
    return {"error": inside | {"code": OPENAI.get(error.code, (0, error.code))[1]}}


def response_of(error: RefusedError, path: str = "") -> JSONResponse:
    """path: of the request; those of OpenAI's form are answered as its clients expect"""
    is_openai = path.startswith("/v1/")
    status = STATUS.get(error.code, 400)
    if is_openai and error.code in OPENAI:
        status = OPENAI[error.code][0]
    waits = {"Retry-After": str(error.details.get("retry_after_s", TRY_AGAIN_S))} if status in (429, 503) else {}
    return JSONResponse(openai_envelope(error) if is_openai else envelope(error), status, headers=waits)


def _invalid(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Where a body is wrong, and what is wrong there. Of a value that may have several forms, pydantic tells what each
    form lacks, with the form's name in the place: what goes furthest into the value is of the form that was meant."""
    if errors[0]["type"] == "json_invalid":  # its place is a number of a character
        return "", f"is not JSON ({errors[0].get('ctx', {}).get('error', 'it cannot be read')})"
    first = list(errors[0]["loc"])
    same = [error for error in errors if error["loc"][: len(first) - 1] == tuple(first[:-1])]
    found = max(same, key=lambda error: len(error["loc"]))
    parts = [str(part) for part in found["loc"][1:] if not (isinstance(part, str) and _FORM.fullmatch(part))]
    return ".".join(parts), "unknown parameter" if found["type"] == "extra_forbidden" else str(found["msg"])


_FORM = re.compile(r"(constrained-)?(str|int|float|bool)|\w+\[.*\]")
"""What pydantic calls a form of a value."""


def add_handlers(app: FastAPI) -> None:
    """Answer every exception with the envelope."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        return response_of(refusal_of(error), request.url.path)

    async def handle_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        where, said = _invalid(error.errors())
        return response_of(RefusedError("invalid", f"{where or 'body'}: {said}", where or None), request.url.path)

    async def handle_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "not_this_method"}.get(error.status_code, "invalid")
        # Pages are at every address that nothing else has, and only to be read.
        if code == "not_this_method" and request.scope.get("endpoint") is page and is_for_programs(request.url.path):
            code = "not_found"
        said = {"not_found": "there is no such address", "not_this_method": "the address does not take this method"}
        return response_of(RefusedError(code, said.get(code, "the request cannot be read")), request.url.path)

    app.add_exception_handler(UserError, handle)
    app.add_exception_handler(OSError, handle)
    app.add_exception_handler(Exception, handle)
    app.add_exception_handler(RequestValidationError, handle_validation)
    app.add_exception_handler(HTTPException, handle_http)
