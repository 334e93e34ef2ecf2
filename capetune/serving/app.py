"""The application: the page, its JSON, and who may ask."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from capetune.errors import UserError
from capetune.prediction.model import Model, Poses
from capetune.prediction.template import Template, TemplateTree
from capetune.serving.page import RULES, page
from capetune.serving.wire import BODY, About, Error, Found, Question
from capetune.serving.work import Prepared, TooLarge, answer, chosen, prepare

OPEN = ("/", "/openapi.json")  # they say nothing of the model
WRONG: dict[int | str, dict[str, Any]] = {
    401: {"model": Error, "description": "No token, or a wrong one"},
    413: {"model": Error, "description": "More than the limits that /api/model tells"},
    422: {"model": Error, "description": "What is asked can't be used"},
}


def build_app(
    token: str,
    about: About,
    templates: Mapping[str, Template],
    model: Model,
    predict: Callable[[Prepared], Awaitable[Poses]],
) -> FastAPI:
    """templates: by category's id. predict: gives the poses of one question, in a batch with those of others.

    A question needs the token; the page and the OpenAPI document don't. What is wrong is one line, `detail`, with 422,
    or 413 where it is too large.
    """
    app = FastAPI(title="capetune serve", version="1", docs_url=None, redoc_url=None, max_body_size=BODY)
    api = APIRouter(prefix="/api", responses=WRONG, dependencies=[Security(HTTPBearer(auto_error=False))])
    facts = {**about.model_dump(include={"checkpoint", "epoch", "weights_hash"}), "left_out": {}}
    shown = page()

    @app.get("/", include_in_schema=False)
    async def look() -> HTMLResponse:
        return HTMLResponse(shown, headers={"Content-Security-Policy": RULES, "Referrer-Policy": "no-referrer"})

    @api.get("/model")
    async def model_asked() -> About:
        """The model that answers, the categories whose templates it has, and the most that it takes."""
        return about

    @api.get("/templates/{category}")
    async def template_asked(category: str) -> TemplateTree:
        """A category's template, by its id or its name."""
        return chosen(category, templates).to_json()

    @api.post("/predict", response_model=Found)
    async def predict_asked(question: Question) -> Response:
        """Where a template's keypoints lie in each box of each picture."""
        prepared = await asyncio.to_thread(prepare, question, templates, model)
        poses = await predict(prepared)
        return Response(answer(prepared, poses, facts), media_type="application/json")

    @app.exception_handler(UserError)
    async def refused(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 413 if isinstance(error, TooLarge) else 422)

    @app.exception_handler(RequestValidationError)
    async def odd(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse({"detail": f"{where}: {first['msg']}" if where else first["msg"]}, 422)

    app.include_router(api)
    app.add_middleware(Guard, token=token)
    return app


class Guard:
    """Lets only those ask who have the token: before a byte of their question is read."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            given = Headers(scope=scope).get("authorization", "").encode()
            if not secrets.compare_digest(given, self.wanted):
                refusal = JSONResponse({"detail": "Unauthorized"}, 401, {"WWW-Authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)
