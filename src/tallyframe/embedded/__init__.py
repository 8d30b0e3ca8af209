"""The one-command stack: real PostgreSQL and real Valkey from wheels, with the API and the worker beside them.

stack.run(plan)        all of it, until Ctrl-C: lock → servers → migrations → API and worker → stack.json
  servers.servers()    both servers alone, for tests
    postgres, valkey   a `server.Server` each
  command              the API or the worker, as a child process
processes → child.py   how each program is started: without root's rights if need be, and so that it ends with us
"""

from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.servers import Servers, servers
from tallyframe.embedded.stack import Plan, read_stack, run

__all__ = ["EmbeddedError", "Plan", "Servers", "read_stack", "run", "servers"]
