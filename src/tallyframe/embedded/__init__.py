"""The one-command stack: real PostgreSQL and real Valkey from wheels, with the API and the worker beside them.

stack.run(plan)        all of it, until Ctrl-C: lock → servers → prepare → supervisor → stack.json
  servers.servers()    both servers alone, for tests
    postgres, valkey   a `server.Server` each
  supervisor           keeps the API and the worker running
processes → child.py   how each program is started: without root's rights where need be, and never to outlive us
"""

from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.servers import Servers, servers
from tallyframe.embedded.stack import Plan, read_stack, run

__all__ = ["EmbeddedError", "Plan", "Servers", "read_stack", "run", "servers"]
