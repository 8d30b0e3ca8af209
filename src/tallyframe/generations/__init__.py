"""How an order becomes a result, or its credits come back.

POST /v1/projects, POST /v1/generations
  accept/  ① submit.py     Terms.order(): shape, length and price                              pure
           ② submit.py     submit(): project · generation(pending) · debit · outbox row        ONE statement → 202
             statements.py the SQL of it
  run/     ④ dispatch.py   a free slot of a worker takes the next generation
             lease.py      pending → processing by a conditional UPDATE: lease, fence, attempt ONE statement
             runner.py     the operation's run(), a heartbeat beside it                        no transaction open
             context.py    what run() works with: pictures, and steps by name
  steps/   ④ execute.py    one step: what is next, ask a provider, decide
             decide.py     what a step does about its tries and about an answer, and when again pure
             values.py     what is decided from, and what is decided                           pure
             rows.py       what is kept of each try; results.py: files into the storage
             detached.py   orders that are under way when their run ends
  end/     ⑤ settle.py     succeeded: outputs · data                                           ONE statement
                           failed or canceled: refund                                          ONE statement
           ⑥ withdraw.py   the vendor is asked to stop; sweep.py: lost and overdue generations
             erase.py      files and texts of what was deleted

claim.py (what a worker holds), states.py (the allowed moves), tables.py and queries.py (reads for the API) are shared.
③, from the commit to a worker, is `outbox/relay.py`.
"""
