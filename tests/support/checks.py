"""The names of the ledger's checks, as operators read them."""

BALANCE = "balance is the sum of the entries"
BEFORE = "every entry follows from the one before"
HEAD = "the account's version and head are those of its last entry"
HASH = "the hash chain holds"
REFUND = "every refund gives back a debit of the same account and generation, and not more"
DEBIT = "every generation was debited its price, once"
REFUNDED = "failed and canceled generations are refunded, others are not"
BOUGHT = "every entry's generation exists and belongs to its account"
LOGGED = "every adjustment has its line in the administrators' log"
USER = "every generation's account belongs to its user"
GUARDS = "the guards are in place"
DIGEST = "a digest"  # whichever
