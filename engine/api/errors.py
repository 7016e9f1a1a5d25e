"""Every error of the API in one shape: {"error": {"code", "message", "hint"}}.

    Refusal            whatever a route says no with; its status tells whose fault it is (4xx: the caller's, 5xx: ours)
    NothingDeployed    503 nothing_deployed: send again after a deploy
    SQLAlchemyError    503 unavailable where the database can't be reached or is too busy, 400 unstorable where a value can't be
                       stored, else 500
    anything else      500 internal; the log has the trace, the answer never

A 503 carries Retry-After, in seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from engine.delivery.deployment import NothingDeployed
from engine.intake.resolving import Moved
from engine.observe.words import in_a_line
from engine.store.trouble import lost

log = logging.getLogger("sojourn.api")

RETRY_AFTER = 5
"""Seconds after which a caller may try again, in the 503s."""

_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}


class ErrorDetail(BaseModel):
    """`code` is stable and for programs, `message` says what is wrong and where, `hint` how to mend it, or ""."""

    code: str
    message: str
    hint: str = ""


class ErrorBody(BaseModel):
    """What every error's body looks like."""

    error: ErrorDetail


class Refusal(Exception):
    """An answer other than yes. `status` is the HTTP status."""

    def __init__(self, status: int, code: str, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint, self.headers = status, code, message, hint, dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer."""
        body = ErrorBody(error=ErrorDetail(code=self.code, message=self.message, hint=self.hint))
        return JSONResponse(body.model_dump(), self.status, self.headers)


def unavailable(code: str, message: str, hint: str = "send it again: a messageId makes that safe") -> Refusal:
    """503: nothing is wrong with the request, and it may be sent again."""
    return Refusal(503, code, message, hint, {"Retry-After": str(RETRY_AFTER)})


def of_database(error: SQLAlchemyError | OSError) -> Refusal:
    """What a failure of the database means to the caller."""
    if lost(error):
        return unavailable("unavailable", "the database can't be reached now")
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if state[:2] == "40":  # given up in favour of another transaction
            return unavailable("unavailable", "the database can't be reached now")
        # 22: a value that its column can't hold; 54: one that is too large for an index.
        if state[:2] in ("22", "54"):
            log.error("a request holds a value that can't be stored: %s", in_a_line(error))
            return Refusal(400, "unstorable", "a value of this request can't be stored; nothing of it was taken")
    log.error("the database refused a statement", exc_info=error)
    return internal()


def internal() -> Refusal:
    """500: our fault; the trace is in the log and not in the answer."""
    return Refusal(500, "internal", "something went wrong on our side", "the log of the API says what")


def refusal_of(error: Exception) -> Refusal:
    """The answer to any exception."""
    match error:
        case Refusal():
            return error
        case NothingDeployed():
            return unavailable("nothing_deployed", f"{error}; until then nothing can be taken")
        case SQLAlchemyError() | OSError():
            return of_database(error)
        case Moved():
            return unavailable("busy", "the customer is being merged with others by somebody else")
        case RequestValidationError():
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"][1:])
            return Refusal(400, "bad_request", f"{where}: {first['msg']}")
        case HTTPException():
            code = _CODES.get(error.status_code, "error")
            message = "there is no such path" if error.status_code == 404 else str(error.detail)
            return Refusal(error.status_code, code, message, "/openapi.json lists what there is", error.headers)
        case ClientDisconnect():
            return Refusal(400, "gone", "the request ended before all of it had come", "send it again")
        case _:
            log.error("a request failed", exc_info=error)
            return internal()


def install(app: FastAPI) -> None:
    """Answer every exception of `app`'s routes in the one shape."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return refusal_of(error).response()

    for kind in (Refusal, NothingDeployed, SQLAlchemyError, OSError, Moved, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)
