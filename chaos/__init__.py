"""`python -m chaos`: faults of all kinds, at random, while clients order; then the books are checked.

__main__.py    the options, and the order of the phases
plan.py        how long, how many, how fast
stack.py       servers, vendor, API and worker processes, and the links between them
  children.py  one process that is kept running, whatever kills it
  proxy.py     one link between two programs: cut, forgotten, refused, swallowed, delayed, reset within an answer
under_test.py  the product's command line with two operations more
  products.py  these: words, which are data, and a sheet of several steps
vendor.py      the fake vendor, a process of its own, with a book of what it was paid for
  vendor_faults.py  what goes wrong there
clients.py     users who order, wait, cancel, delete, publish, and repeat requests that got no answer
telling.py     another service, which sends webhooks, and an administrator who has them applied again
batches.py     somebody who orders many at once
outsiders.py   runs the two below beside all of these, and looks at the API processes' memory
  strangers.py hundreds of hostile connections, a process of its own
    wires.py   one of them, byte by byte
    rude.py    what strangers do without a key
    malicious.py  what a member does with one
    slow_names.py  a resolver for the API processes that is slow for some names
  pulse.py     asks each API process whether it is alive, a process of its own
  requests.py  one request, and what its client knows afterwards
  history.py   what each client was told
calm.py        after the faults: is every key answered, does the product work?
nemesis.py     draws the faults and commits them
  faults.py    each kind of fault
evidence.py    all that the verdict is based on
gathering.py   collects it, once everything is quiet
  final_reads.py  what the API says at the end
  auditing.py  what the auditor's invariants say
  alarms.py    lines in the logs that no fault explains
checker.py     the verdict; pure
  compared.py  what a check yields
  promises.py  acknowledged means kept, final means final, one key is one order
    keys.py    the outcome of each Idempotency-Key
  aftermath.py every key is answered in the end, and the product works
  reasons.py   every no has a reason
  readings.py  a read is never older than one before, agrees with the rows in the end, and shows nothing deleted
  books.py     every credit, computed again
  purchases.py what was bought at the vendor
  others.py    webhooks, and many orders at once
  withstood.py what strangers were told, how quick the API processes were, and how large
report.py      the tables
  report_strangers.py  those about strangers
"""
