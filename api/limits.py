"""Every bound of the HTTP API in one place; `api/gates.py` keeps them."""

from api.gates import RateLimit

# A send_payment body is about 1.5 kB; the rest is room for long invoices.
PUBLIC_BODY_BYTES = 64 * 1024
# The bound of axum, which the Rust gateway uses.
ADMIN_BODY_BYTES = 2 * 1024 * 1024
BODY_SECONDS = 10.0

# As nginx (8 KiB for a line) and hyper (100 headers) take at least; in all what aiohttp's own bounds allow.
HEADER_LINE_BYTES = 10 * 1024
HEADERS = 100

CONNECTIONS = 1024
# Time for the head of a request, and for silence between two. Longer than the 90 seconds for which
# clients built on reqwest keep a connection, so that it is they who close it.
IDLE_SECONDS = 100.0
# How long the rest of a refused body is read before the connection is closed.
LINGERING_SECONDS = 2.0
# How long running requests may go on once the server stops; payments go on without them.
SHUTDOWN_SECONDS = 2.0

SEND_PAYMENTS = 256
PUBLIC_REQUESTS = 128
# They wait for half a minute each, and cost next to nothing.
VERIFICATIONS = 256
# Each makes a transaction of a federation.
ECASH_RECEIPTS = 32
ADMIN_REQUESTS = 32
PUBLIC_SECONDS = 30.0
# A wallet that verifies with `?wait` is answered after 30 seconds at the latest.
VERIFY_SECONDS = 45.0
# Ecash is ours once a threshold of guardians has signed what it became.
RECEIVE_ECASH_SECONDS = 120.0
# Joining a federation with recovery is the longest admin request.
ADMIN_SECONDS = 600.0

# bcrypt costs its caller nothing and us a tenth of a second or more.
PASSWORD_CHECKS_AT_ONCE = 1
PASSWORD_CHECKS = 32
PASSWORD_CHECKS_PER_REMOTE = 4

# Notes of ecash that strangers hand in, whose signatures cost a worker about a millisecond each to check: two requests
# of the largest size at once, and two per cent of a core in the long run.
ECASH_NOTES = RateLimit(burst=400, per_second=20)
# What a note is long as text, in characters.
ECASH_NOTE_CHARACTERS = 136
