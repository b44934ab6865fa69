"""walletv2 on the client's side: deposit addresses and their grinding, claims, withdrawals.

Sources: fedimint-walletv2-common src/lib.rs, fedimint-walletv2-client src/lib.rs. An address is the
guardians' multisig tweaked by a key of ours, known by its index. Guardians list only outputs whose
script passes a filter, as one index in 65,536 does; **bitcoin sent to any other is lost**. So an
index is ground, which takes seconds.

`python -m fedimint.walletv2.deposits` reads the secret of the module and its config, both in hex, from the
first line of its input. It answers each further line, the index to start at, with `index script` of
the first address from there on, until the input ends or the answers are no longer read. It keeps
nothing: end it at any time.
"""

import hashlib
import os
import select
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import Final, TextIO

import coincurve
import msgspec

from errors import GatewayError, InputError
from fedimint import walletv2
from fedimint.codec import secp
from fedimint.codec.addresses import segwit_address
from fedimint.codec.bitcoin import SCRIPT
from fedimint.codec.encoding import from_hex, mapping
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import PEER_ID, PUBLIC_KEY, Network, PeerId, threshold
from fedimint.crypto.secrets import DerivableSecret, walletv2_deposit_secret
from fedimint.walletv2.config import WALLET_V2, WalletV2ClientConfig

#: Below what payments need, but not far: an operator may be waiting for the address, also on a busy machine.
_LOW_PRIORITY: Final = 5
#: How the hash of a script that guardians watch begins; simulations make do with less.
ZEROS: Final = b"\0\0"
_OP_CHECKMULTISIG: Final = b"\xae"
_PUSH_KEY: Final = b"\x21"


class GroundAddress(msgspec.Struct, frozen=True):
    """A deposit address that the guardians watch: its index, and its script of 34 bytes (P2WSH)."""

    index: int
    script_pubkey: bytes

    def text(self, network: Network) -> str:
        """Return the address as people write it."""
        return segwit_address(self.script_pubkey, network)


class DepositInput(msgspec.Struct, frozen=True):
    """The input that claims a deposit, and the secret key (32 bytes) that signs for it."""

    input: walletv2.WalletInput
    secret_key: bytes

    def __repr__(self) -> str:
        return f"DepositInput(input={self.input!r}, …)"


class DepositScripts:
    """The scripts of one federation by tweak; its guardians' keys are parsed once."""

    def __init__(self, guardian_keys: Mapping[PeerId, bytes]) -> None:
        """Take the `bitcoin_pks` of the config, 33 bytes each."""
        encoded = mapping(PEER_ID, PUBLIC_KEY).encode(dict(guardian_keys))
        self._keys_hash = hashlib.sha256(encoded).digest()
        self._points = [coincurve.PublicKey(key) for key in guardian_keys.values()]
        self._head = _push_number(threshold(len(guardian_keys)))
        self._tail = _push_number(len(guardian_keys)) + _OP_CHECKMULTISIG

    def script_pubkey(self, tweak_public_key: bytes) -> bytes:
        """Return the script of the deposit address of a tweak public key (33 bytes)."""
        return self.tweaked(hashlib.sha256(tweak_public_key).digest())

    def tweaked(self, tweak: bytes) -> bytes:
        """Return the script for a tweak of 32 bytes, by which also the federation's change goes."""
        witness_script = self.witness_script(tweak)
        return b"\x00\x20" + hashlib.sha256(witness_script).digest()

    def witness_script(self, tweak: bytes) -> bytes:
        """Return the sorted multisig (BIP 67) of the tweaked guardian keys."""
        keys = b"".join(_PUSH_KEY + key for key in sorted(self.tweaked_keys(tweak)))
        return self._head + keys + self._tail

    def tweaked_keys(self, tweak: bytes) -> list[bytes]:
        """Return each guardian's key with tweak·G added, 33 bytes, in the order of guardians."""
        # One multiplication for all guardians, and an addition for each.
        added = coincurve.PublicKey.from_valid_secret(tweak)
        return [coincurve.PublicKey.combine_keys([p, added]).format() for p in self._points]

    def is_watched(self, script_pubkey: bytes) -> bool:
        """Whether the guardians list outputs with this script, ours or not."""
        filtered = SCRIPT.encode(script_pubkey) + self._keys_hash
        return hashlib.sha256(filtered).digest().startswith(ZEROS)


def address_at(
    module: DerivableSecret, config: WalletV2ClientConfig, index: int
) -> GroundAddress | None:
    """The address of an index; None when the guardians do not watch it. Never pay to such a one."""
    scripts = DepositScripts(config.bitcoin_pks)
    script_pubkey = _script_pubkey(module, scripts, index)
    return GroundAddress(index, script_pubkey) if scripts.is_watched(script_pubkey) else None


def grind(module: DerivableSecret, config: WalletV2ClientConfig, start_index: int) -> GroundAddress:
    """The first address from `start_index` upwards that the guardians watch. Takes seconds."""
    scripts = DepositScripts(config.bitcoin_pks)
    index = start_index
    while True:
        script_pubkey = _script_pubkey(module, scripts, index)
        if scripts.is_watched(script_pubkey):
            return GroundAddress(index, script_pubkey)
        index += 1


def deposit_input(
    module: DerivableSecret, address_index: int, output_index: int, fee_sat: int
) -> DepositInput:
    """The input that claims output `output_index` of the guardians' list, paid to our address.

    `fee_sat` goes to the miners and must be no less than `receive_fee_sat` at that time.
    """
    secret_key = walletv2_deposit_secret(module, address_index)
    claim = walletv2.WalletInput(output_index, secp.public_key(secret_key), fee_sat)
    return DepositInput(claim, secret_key)


def deposit_amount_msat(value_sat: int, fee_sat: int) -> int:
    """What a claim brings into its transaction, before the module's own fee on that amount.

    Raises InputError when nothing is left after the miner fee.
    """
    if value_sat <= fee_sat:
        raise InputError(f"a deposit of {value_sat} sat does not cover the miner fee of {fee_sat}")
    return (value_sat - fee_sat) * 1000


def withdrawal_output(
    config: WalletV2ClientConfig, script_pubkey: bytes, value_sat: int, fee_sat: int
) -> walletv2.WalletOutput:
    """The output that pays `value_sat` to a script on chain, and `fee_sat` to the miners.

    It takes `amount_msat()` from the balance and the module's fee on that amount. Raises InputError
    when the guardians would refuse it whatever they hold: a value under their dust limit, or a
    script that is no standard one.
    """
    if value_sat < config.dust_limit_sat:
        raise InputError(
            f"the federation pays out {config.dust_limit_sat} sat or more, not {value_sat} sat"
        )
    destination = walletv2.standard_script(script_pubkey)
    if destination is None:
        raise InputError("the federation cannot pay to an address of this kind")
    return walletv2.WalletOutput(destination, value_sat, fee_sat)


def serve(requests: Iterable[str], answers: TextIO) -> None:
    """Answer every line after the first with an address. Raises InputError for a bad line."""
    lines = iter(requests)
    module, config = _decode_first_line(next(lines, ""))
    for line in lines:
        if not line.strip().isdecimal():
            raise InputError("each further line must be the index to start at")
        address = grind(module, config, int(line))
        answers.write(f"{address.index} {address.script_pubkey.hex()}\n")
        answers.flush()


def first_line(module: DerivableSecret, config: WalletV2ClientConfig) -> str:
    """What the program reads first, with its newline. It holds the secret: write it to it alone."""
    return f"{module.to_bytes().hex()} {WALLET_V2.encode(config).hex()}\n"


def decode_answer(line: str) -> GroundAddress:
    """An answer of the program; `address_at` tells whether it is true. Raises DecodeError."""
    index, _, script = line.strip().partition(" ")
    script_pubkey = from_hex(script)
    if not index.isdecimal() or len(script_pubkey) != 34:
        raise DecodeError("an index and a script are expected of the program that grinds addresses")
    return GroundAddress(int(index), script_pubkey)


def end_with_reader(answers: TextIO) -> None:
    """End this process as soon as the other end of the pipe is closed: a killed gateway waits for no address."""
    pipe = select.poll()
    pipe.register(answers.fileno(), 0)  # errors, such as a pipe without readers, are told unasked

    def wait() -> None:
        pipe.poll()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """Run as a program; the exit status."""
    os.nice(_LOW_PRIORITY)
    end_with_reader(sys.stdout)
    try:
        serve(sys.stdin, sys.stdout)
    except GatewayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except (BrokenPipeError, KeyboardInterrupt):
        # The caller is gone, and nothing is lost: the next one starts at the same index.
        return 0
    return 0


def _script_pubkey(module: DerivableSecret, scripts: DepositScripts, index: int) -> bytes:
    return scripts.script_pubkey(secp.public_key(walletv2_deposit_secret(module, index)))


def _push_number(number: int) -> bytes:
    """A small number as script pushes it: OP_1 to OP_16 have codes of their own."""
    return bytes([0x50 + number]) if number <= 16 else bytes([1, number])


def _decode_first_line(line: str) -> tuple[DerivableSecret, WalletV2ClientConfig]:
    """Raises InputError, which does not repeat the line."""
    secret, _, config = line.strip().partition(" ")
    try:
        return DerivableSecret(bytes.fromhex(secret)), WALLET_V2.decode_hex(config)
    except (InputError, ValueError):
        raise InputError(
            "the first line must be the walletv2 module's secret and its config, both in hex"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
