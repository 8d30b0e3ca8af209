"""`python -m chaos`: everything that can be switched off is switched off, at random, and then the books are checked.

__main__.py    the options, and the order of things
plan.py        how long, how many, how fast
stack.py       servers, vendor, API and worker processes, and the links between them
  children.py  one process that is kept running, whatever kills it
  proxy.py     one link between two programs: cut, forgotten, refused, swallowed, held up, reset in mid-answer
vendor.py      the fake vendor, a process of its own, with a book of what it was paid for
  moods.py     how it takes each order
clients.py     users who order, wait, cancel, delete, publish, and repeat what was not answered
  requests.py  one request, and what is known of it afterwards
  history.py   what each client was told
calm.py        after the faults: is every key answered, does the product work?
nemesis.py     who breaks things
  faults.py    what can be done to the stack
evidence.py    all that the verdict is based on
gathering.py   how it is come by, once everything is quiet
  looks.py     what the API says at the end
  auditing.py  what the auditor's invariants say
  alarms.py    what no fault explains in the logs
checker.py     the verdict; pure
  promises.py  acknowledged means kept, final means final, one key is one order
    keys.py    what became of each Idempotency-Key
  aftermath.py every key is answered in the end, and the product works
  reasons.py   every no has a reason
  readings.py  what is read never goes back, is so in the end, and is gone once deleted
  books.py     every credit, worked out again
  purchases.py what was bought at the vendor
report.py      the tables
"""
