"""A FastAPI app that does nothing, served as the API is: it costs what the web stack alone costs.

python -m bench.peers.bare PORT
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from bench.stack import Child, Stack, free_port

app = FastAPI()


class Order(BaseModel):
    """The body: the same as for the API."""

    kind: str
    prompt: str


class Small(BaseModel):
    """A small answer."""

    id: str
    status: str


@app.post("/", status_code=202)
async def accept(order: Order) -> Small:
    """Read the body and answer."""
    return Small(id=order.kind, status="pending")


@app.get("/")
async def poll() -> Small:
    """Answer."""
    return Small(id="image", status="pending")


@asynccontextmanager
async def serving(stack: Stack) -> AsyncIterator[Child]:
    """Run the app for the block."""
    port = free_port()
    async with stack.serving([sys.executable, "-m", "bench.peers.bare", str(port)], {}, port) as child:
        yield child


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False)
