"""What administrators do to other people's credits and generations. Each act says who acts, and why.

log.py          the line that every act writes in its own statement; reading the log
credits.py      give or take credits
work.py         cancel, wake, order again: by the same statements as for users
doubts.py       say what became of an order that was in doubt
users.py        find users
generations.py  find generations, and look into one
"""
