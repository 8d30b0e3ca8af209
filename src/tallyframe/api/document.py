"""The contract as an OpenAPI document: the framework's, with our errors and examples, at one address for all."""

import json
from functools import cache, partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from tallyframe.api import docs_files, incoming, problems, schemas


def serve(app: FastAPI) -> None:
    """Serve the contract as bytes that are made once: the framework makes them for each stranger who asks."""
    app.openapi = partial(_openapi, app)  # type: ignore[method-assign]  # how FastAPI wants it replaced
    made = cache(lambda: json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode())

    async def answer(_: Request) -> Response:
        return Response(made(), media_type="application/json")

    address, ours = str(app.openapi_url), {str(app.openapi_url), docs_files.FOLDER}
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") not in ours]
    app.add_route(address, answer, include_in_schema=False)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the contract: FastAPI's, with our errors instead of its own, and the models that we parse ourselves."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    models = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        models.pop(unused, None)
    for model in (schemas.Problem, incoming.NewProject):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        models.update(schema.pop("$defs", {}))
        models[model.__name__] = schema
    problem = {"content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for path in document["paths"].values():
        for operation in path.values():
            _show_example(operation, models)
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "What went wrong", **problem}
    app.openapi_schema = document
    return document


def _show_example(operation: dict[str, Any], models: dict[str, Any]) -> None:
    """Put the example of a JSON body where the docs page takes it from, so that it can be sent as it is."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    model = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    for example in models.get(model, {}).get("examples", []):
        content["example"] = example
