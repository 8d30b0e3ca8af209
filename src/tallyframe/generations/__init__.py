"""THE STORY: how an order becomes a result, or its credits come back.

POST /v1/projects
  offered.py   can anybody make this shape and length?                                    pure
  quote.py     price the order                                                            pure
  submit.py    project · generation(pending) · debit · outbox row                         ONE statement → 202
  dispatch.py  a free slot of a worker takes whoever's turn it is
  lease.py     pending → processing by a conditional UPDATE: lease, fence, attempt        ONE statement
  run.py       operation → provider → storage (context.py), a heartbeat beside it         no transaction open
               each durable step is kept by steps.py; deals.py says whose turn it is, retry.py when again
               slow provider? keep its ticket, leave, be woken later
               made? storing.py; canceled meanwhile? late.py
  settle.py    done:   assets · succeeded                                                 ONE statement
               failed: refund · failed(code, message)                                     ONE statement
  withdraw.py  ended while a vendor was at work: ask it to stop, and book it
  sweep.py     what got lost is rung again; what is too old is settled as `expired`
  queries.py   reads for the API
  figures.py   counts for /metrics
  stats.py, failed.py, load.py
               counts for operators: how a span.py went, what failed in it, what waits and who works now
  erase.py     a deleted project's media and prompts are removed
"""
