"""What the embedded guardians check of a transaction, in the order of the real ones.

Source: fedimint-server src/consensus/transaction.rs: inputs one by one, signatures, outputs one by
one, then the balance. The order matters, since clients count equal errors.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

import msgspec

from devnet.guardians.ledger import Draft
from devnet.guardians.lightning_rules import LightningRules
from devnet.guardians.mint_rules import MintRules
from devnet.guardians.module_rules import InputMeta, ModuleRules, Moment, OutputMeta
from devnet.guardians.wallet_rules import WalletRules
from errors import FatalError
from fedimint import lnv2, mintv2, walletv2
from fedimint.codec import secp
from fedimint.codec.encoding import Codec, UnknownVariant
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import ModuleError, OutPoint, TransactionId
from fedimint.config import ClientConfig
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.modules import MODULE_CODECS, ModuleCodecs
from fedimint.transaction import (
    TRANSACTION,
    DynItem,
    InputRefused,
    InvalidSignature,
    InvalidWitnessLength,
    NaiveMultisig,
    OutputRefused,
    Transaction,
    TransactionError,
    UnbalancedTransaction,
    UnsupportedSignatureScheme,
)
from fedimint.walletv2.config import WalletV2ClientConfig

_U64_MAX: Final = (1 << 64) - 1
_REMEMBERED_TRANSACTIONS: Final = 64

EmbeddedInput = lnv2.Input | mintv2.Input | walletv2.Input
EmbeddedOutput = lnv2.Output | mintv2.Output | walletv2.Output
C = TypeVar("C", bound=msgspec.Struct)
T = TypeVar("T")


class DecodedTransaction(NamedTuple):
    """A transaction whose items and curve points are all well formed."""

    transaction: Transaction
    inputs: tuple[EmbeddedInput, ...]
    outputs: tuple[EmbeddedOutput, ...]


class TransactionRules:
    """The rules of one federation; they hold no state but what they remember of good notes, and of wrongs.

    `refuses`, which may be changed at any time, makes all guardians refuse good transactions: a fault of the
    federation. What was refused so is `refused`, and stays refused.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._mint = MintRules(module_config(config, MintV2ClientConfig))
        self.wallet = WalletRules(module_config(config, WalletV2ClientConfig))
        self._rules: Mapping[str, ModuleRules] = {
            lnv2.KIND: LightningRules(module_config(config, LnV2ClientConfig)),
            mintv2.KIND: self._mint,
            walletv2.KIND: self.wallet,
        }
        self.refuses: Callable[[DecodedTransaction], bool] | None = None
        self.refused: set[TransactionId] = set()

        # Every guardian is given the same bytes.
        self._remembered = lru_cache(_REMEMBERED_TRANSACTIONS)(self._decode)

    def decode(self, data: bytes) -> DecodedTransaction:
        """Read a transaction with all its items. Raises DecodeError."""
        return self._remembered(data)

    def process(
        self, decoded: DecodedTransaction, draft: Draft, moment: Moment
    ) -> int | TransactionError:
        """Apply to the draft; return what the federation keeps (msat), or why it refuses."""
        judged = self._judge(decoded, draft, moment)
        if not isinstance(judged, int):
            return judged
        txid = decoded.transaction.txid()
        if self.refuses is not None and txid not in self.refused and self.refuses(decoded):
            self.refused.add(txid)
        return InvalidWitnessLength() if txid in self.refused else judged

    def _judge(
        self, decoded: DecodedTransaction, draft: Draft, moment: Moment
    ) -> int | TransactionError:
        transaction = decoded.transaction
        txid = transaction.txid()
        self._mint.verify_together(
            [item.note for item in decoded.inputs if isinstance(item, mintv2.MintInput)]
        )
        inputs: list[InputMeta] = []
        for dyn_item, spent in zip(transaction.inputs, decoded.inputs, strict=True):
            brought = (
                ModuleError("UnknownInputVariant", (spent.index,))
                if isinstance(spent, UnknownVariant)
                else self._rules[self._kind(dyn_item)].process_input(draft, spent, moment)
            )
            if isinstance(brought, ModuleError):
                codec = self._codecs(dyn_item).input_error
                return InputRefused(DynItem(dyn_item.module_instance_id, codec.encode(brought)))
            inputs.append(brought)
        unsigned = signature_error(transaction, [meta.public_key for meta in inputs])
        if unsigned is not None:
            return unsigned
        outputs: list[OutputMeta] = []
        for index, dyn_item in enumerate(transaction.outputs):
            paid, out_point = decoded.outputs[index], OutPoint(txid, index)
            taken = (
                ModuleError("UnknownOutputVariant", (paid.index,))
                if isinstance(paid, UnknownVariant)
                else self._rules[self._kind(dyn_item)].process_output(
                    draft, paid, out_point, moment
                )
            )
            if isinstance(taken, ModuleError):
                codec = self._codecs(dyn_item).output_error
                return OutputRefused(DynItem(dyn_item.module_instance_id, codec.encode(taken)))
            outputs.append(taken)
        return _balance(inputs, outputs)

    def _decode(self, data: bytes) -> DecodedTransaction:
        transaction = TRANSACTION.decode(data)
        return DecodedTransaction(
            transaction,
            tuple(self._item(one, self._codecs(one).input) for one in transaction.inputs),
            tuple(self._item(one, self._codecs(one).output) for one in transaction.outputs),
        )

    def _item(self, dyn_item: DynItem, codec: Codec[T]) -> T:
        item = codec.decode(dyn_item.body)
        if not isinstance(item, UnknownVariant):
            self._rules[self._kind(dyn_item)].check(item)
        return item

    def _codecs(self, dyn_item: DynItem) -> ModuleCodecs:
        return MODULE_CODECS[self._kind(dyn_item)]

    def _kind(self, item: DynItem) -> str:
        kind = self._config.kind_of(item.module_instance_id)
        if kind is None or kind not in self._rules:
            raise DecodeError(f"module {item.module_instance_id} has no inputs or outputs")
        return kind


def module_config(config: ClientConfig, config_type: type[C]) -> C:
    """Return the config of a module that every embedded federation has."""
    found = config.find(config_type)
    if found is None:
        raise FatalError(f"an embedded federation without {config_type.__name__}")
    return found[1]


def signature_error(transaction: Transaction, keys: Sequence[bytes]) -> TransactionError | None:
    """What is wrong unless input i is signed by `keys[i]` (33 or 32 bytes), for every i."""
    if not isinstance(transaction.signatures, NaiveMultisig):
        return UnsupportedSignatureScheme(transaction.signatures.index)
    signatures = transaction.signatures.signatures
    if len(signatures) != len(keys):
        return InvalidWitnessLength()
    txid = transaction.txid()
    for key, signature in zip(keys, signatures, strict=True):
        if not secp.verify_schnorr(key, txid, signature):
            encoded = TRANSACTION.encode(transaction)
            return InvalidSignature(encoded.hex(), txid.hex(), signature.hex(), key.hex())
    return None


def _balance(
    inputs: Sequence[InputMeta], outputs: Sequence[OutputMeta]
) -> int | UnbalancedTransaction:
    """Return what is left over for the federation; overpaying is allowed from core 2.1 on."""
    inputs_msat = sum(meta.amount_msat for meta in inputs)
    outputs_msat = sum(meta.amount_msat for meta in outputs)
    fee_msat = sum(meta.fee_msat for meta in inputs) + sum(meta.fee_msat for meta in outputs)
    if max(inputs_msat, outputs_msat + fee_msat) > _U64_MAX:
        return UnbalancedTransaction(0, 0, 0)
    if inputs_msat < outputs_msat + fee_msat:
        return UnbalancedTransaction(inputs_msat, outputs_msat, fee_msat)
    return inputs_msat - outputs_msat
