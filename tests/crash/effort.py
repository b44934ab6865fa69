"""How many rounds the endless tests play: some in CI, more in `nox -s crash`."""

import os

#: Kills of the real process; everything else is in proportion.
ROUNDS = int(os.environ.get("GATEWAY_CRASH_ROUNDS", "60"))
#: Faults of the disk in each scenario of the whole gateway.
FAULTS_IN_A_SCENARIO = ROUNDS // 5
