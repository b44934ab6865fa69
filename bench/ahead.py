"""Gives the wallet of a stopped gateway more tweaks than usual, so that a bench waits for no grinding."""

import os
import time
from pathlib import Path

from engine.chain import Row, verified
from engine.fold import fold
from engine.storage.store import Store
from fedimint.crypto.secrets import TWEAK_SIZE
from gateway.log import machines, read_models
from migrations import SchemaSteps
from statemachines import wallet
from statemachines.transaction import wallet_of

_TWEAKS_PER_EVENT = 1_000


def add_tweaks(data_dir: Path, federation_id: str, count: int) -> None:
    """Random ones: guardians take them like ground ones, only recovery would not find their notes."""
    of, stream = machines(), wallet_of(federation_id)
    store = Store(data_dir, SchemaSteps(), read_models())
    try:
        known = fold(of, verified(store.rows()), keep_final=False)
        for _ in range(0, count, _TWEAKS_PER_EVENT):
            tweaks = tuple(os.urandom(TWEAK_SIZE).hex() for _ in range(_TWEAKS_PER_EVENT))
            added = of.codec.encode(wallet.TweaksAdded(tweaks=tweaks))
            position, version = store.head.position + 1, known[stream].version + 1
            now_unix_us = time.time_ns() // 1_000
            row = Row(position, position, stream, version, added, store.epoch, now_unix_us)
            step = of.step(known, row)
            store.append([step])
            known[stream] = known[stream].__class__(step.state, version, position)
    finally:
        store.close()
