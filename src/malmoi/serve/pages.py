"""The web app: files that were built with the package. Any other address shows the app, which finds its way itself."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from malmoi.feedback.refusals import missing

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
"""For files whose name changes with their contents."""
NOT_BUILT = "The web app is not built: make web. The API is at /api and /v1.\n"

READ = ["GET", "HEAD"]
"""Programs that look whether a server is there ask for the head alone."""

router = APIRouter()


@router.api_route("/health", methods=READ)
def health() -> dict[str, str]:
    return {"status": "ok"}


@router.api_route("/{path:path}", methods=READ)
def page(path: str) -> Response:
    if is_for_programs(path):
        raise missing("address")
    found = file_of(path)
    if found is not None:
        return FileResponse(found, headers=FOR_EVER if path.startswith("assets/") else {"Cache-Control": "no-cache"})
    if path.startswith("assets/"):
        raise missing("file")
    index = STATIC / INDEX
    if not index.is_file():
        return Response(NOT_BUILT, media_type="text/plain")
    return FileResponse(index, headers={"Cache-Control": "no-cache"})


def is_for_programs(path: str) -> bool:
    """Whether an address is one of the API, where no page is."""
    return path.lstrip("/").split("/")[0] in ("api", "v1")


def file_of(path: str) -> Path | None:
    """The file of the web app at an address; None if there is none, or if the address leads elsewhere."""
    if not path or "\0" in path:
        return None
    try:
        found = (STATIC / path).resolve()
        return found if found.is_relative_to(STATIC.resolve()) and found.is_file() else None
    except OSError:  # such as a name that is too long
        return None
