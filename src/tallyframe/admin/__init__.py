"""What administrators do to other people's credits and generations, each with who and why.

log.py          the line that every act writes in its own statement; reading the log
credits.py      give or take credits
work.py         cancel, wake, order again: through the state machine of `generations/`, as everybody
doubts.py       say what became of an order that was in doubt
users.py        find users
generations.py  find generations, and look into one
pages.py        lists that cost the same however many rows there are
"""
