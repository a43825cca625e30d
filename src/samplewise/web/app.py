"""Applications: FastAPI without its own pages; static files by name; errors in JSON."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from samplewise.errors import SamplewiseError
from samplewise.web.guard import Access, Guard

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class RequestError(Exception):
    """A request that cannot be answered; the message says why."""

    def __init__(self, status: int, text: str, retry_after: int | None = None):
        super().__init__(text)
        self.status, self.retry_after = status, retry_after


def create_app(router: APIRouter, files: Mapping[str, str]) -> FastAPI:
    """Return an application that serves a router and some files of the static folder.

    Args:
        router: The application's own routes.
        files: Path of a URL -> name of a file in ``static``.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    for url, name in files.items():
        app.add_api_route(url, _static(name), methods=["GET"], include_in_schema=False)
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(SamplewiseError, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    return app


def guarded(app: FastAPI, access: Access) -> Guard:
    """Return the application behind its guard."""
    return Guard(app, access)


def _static(name: str):
    path = STATIC / name
    body, media_type = path.read_bytes(), TYPES[path.suffix]

    def file() -> Response:
        return Response(body, media_type=media_type, headers={"cache-control": "no-cache"})

    return file


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    headers = None if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return JSONResponse({"error": str(error)}, error.status, headers)


async def unavailable(request: Request, error: Exception) -> JSONResponse:
    """Answer that the request may be sent again."""
    return JSONResponse({"error": str(error)}, 503, {"retry-after": "2"})


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 400)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse({"error": f"{place}: {first['msg']}"}, 422)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, dict(error.headers or {}))
