"""THE STORY: how an order becomes a result, or its credits come back.

POST /v1/projects
  quote.py     price the order                                                            pure
  submit.py    project · generation(pending) · debit · outbox row                         ONE statement → 202
  claim.py     pending → processing by a conditional UPDATE: lease, fence, attempt        ONE statement
  run.py       operation → provider → storage, each durable step kept by steps.py         no transaction open
               slow provider? keep its ticket, leave, be woken later
  settle.py    done:   assets · succeeded                                                 ONE transaction
               failed: refund · failed(code, message)                                     ONE transaction
  sweep.py     what got lost is rung again; what is too old is settled as `expired`
  queries.py   reads for the API
"""
