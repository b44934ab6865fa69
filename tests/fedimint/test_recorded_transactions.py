"""Every recorded transaction: bytes, ids, signatures, balance with the federation's fees."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from devnet.guardians.transaction_rules import signature_error
from fedimint import ln, lnv2, mint, mintv2, wallet, walletv2
from fedimint.codec import secp
from fedimint.codec.bitcoin import BITCOIN_OUT_POINT
from fedimint.codec.encoding import from_module_json, to_module_json
from fedimint.codec.json_types import OutPointJson
from fedimint.codec.wire_types import OutPoint
from fedimint.config import ClientConfig
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.mint.config import MintClientConfig
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.modules import MODULE_CODECS, ModuleCodecs
from fedimint.transaction import (
    DYN_ITEM,
    SUBMISSION_OUTCOME,
    TRANSACTION,
    Accepted,
    Transaction,
)
from fedimint.wallet.config import WalletClientConfig
from fedimint.walletv2.config import WalletV2ClientConfig


def _config(session: Any) -> ClientConfig:
    return ClientConfig.from_json(session.of("client_config")[0].result)


def _transactions(session: Any) -> Iterator[tuple[Transaction, Any]]:
    for call in session.of("submit_transaction"):
        yield from_module_json(TRANSACTION, call.params), call


@pytest.mark.parametrize(("version", "count"), [("v1", 12), ("v2", 19)])
def test_transactions_and_answers_keep_their_bytes(
    sessions: dict[str, Any], version: str, count: int
) -> None:
    session = sessions[version]
    config = _config(session)
    seen = 0
    for transaction, call in _transactions(session):
        seen += 1
        assert to_module_json(TRANSACTION, transaction) == call.params
        for item in transaction.inputs:
            kind = config.kind_of(item.module_instance_id)
            assert kind is not None
            codec = MODULE_CODECS[kind].input
            assert codec.encode(codec.decode(item.body)) == item.body
        for item in transaction.outputs:
            kind = config.kind_of(item.module_instance_id)
            assert kind is not None
            codec = MODULE_CODECS[kind].output
            assert codec.encode(codec.decode(item.body)) == item.body
        if call.result is not None:
            outcome = from_module_json(SUBMISSION_OUTCOME, call.result)
            assert outcome == Accepted(transaction.txid())
            assert to_module_json(SUBMISSION_OUTCOME, outcome) == call.result
    assert seen == count


def test_outcomes_of_outputs_keep_their_bytes(sessions: dict[str, Any]) -> None:
    config = _config(sessions["v1"])
    seen = 0
    for call in sessions["v1"].of("await_outputs_outcomes"):
        for json in call.result:
            item = from_module_json(DYN_ITEM, json)
            kind = config.kind_of(item.module_instance_id)
            assert kind == mint.KIND
            outcome = mint.OUTPUT_OUTCOME.decode(item.body)
            assert mint.OUTPUT_OUTCOME.encode(outcome) == item.body
            assert to_module_json(DYN_ITEM, item) == json
            seen += 1
    assert seen == 182


class Value(msgspec.Struct, frozen=True):
    """What an input or output is worth, what it costs, and the key that has to sign it."""

    amount_msat: int
    fee_msat: int
    key: bytes = b""


class V2Ledger:
    """Values of items of the v2 modules, after what the session has shown so far."""

    def __init__(self, session: Any) -> None:
        config = _config(session)
        lnv2_config = config.find(LnV2ClientConfig)
        mint_config = config.find(MintV2ClientConfig)
        wallet_config = config.find(WalletV2ClientConfig)
        assert lnv2_config is not None
        assert mint_config is not None
        assert wallet_config is not None
        self.config = config
        self.ln_fee = lnv2_config[1].fee_consensus
        self.mint_fee = mint_config[1].fee_consensus
        self.wallet_fee = wallet_config[1].fee_consensus
        # The recording leaves out later polls; the second deposit was of the same 2 BTC.
        self.deposits = {1: 200_000_000} | {
            output["index"]: output["value"]
            for call in session.of("module_3_output_info_slice")
            for output in call.result or ()
        }
        self.contracts: dict[OutPoint, Any] = {
            OutPoint(transaction.txid(), index): output.inner.contract
            for transaction, _ in _transactions(session)
            for index, item in enumerate(transaction.outputs)
            if isinstance(output := self.output(item), lnv2.OutputV0)
        }

    def input(self, item: Any) -> Any:
        return self._codecs(item).input.decode(item.body)

    def output(self, item: Any) -> Any:
        return self._codecs(item).output.decode(item.body)

    def _codecs(self, item: Any) -> ModuleCodecs:
        return MODULE_CODECS[self.config.kind_of(item.module_instance_id) or ""]

    def value_in(self, item: Any) -> Value:
        match self.input(item):
            case mintv2.MintInput(note):
                amount = note.amount_msat()
                return Value(amount, self.mint_fee.fee_msat(amount), note.nonce)
            case walletv2.WalletInput(index, tweak, fee_sat):
                amount = (self.deposits[index] - fee_sat) * 1000
                return Value(amount, self.wallet_fee.fee_msat(amount), tweak)
            case lnv2.InputV0(lnv2.OutgoingInput(out_point, witness)):
                contract = self.contracts[out_point]
                self._check_witness(contract, witness)
                claimed = isinstance(witness, lnv2.Claim)
                key = contract.claim_pk if claimed else contract.refund_pk
                amount = contract.amount_msat
                return Value(amount, self.ln_fee.fee_msat(amount), key)
            case lnv2.InputV0(lnv2.IncomingInput(out_point, _)):
                commitment = self.contracts[out_point].commitment
                amount = commitment.amount_msat
                return Value(amount, self.ln_fee.fee_msat(amount), commitment.claim_pk)
        raise AssertionError(item)

    @staticmethod
    def _check_witness(contract: lnv2.OutgoingContract, witness: lnv2.OutgoingWitness) -> None:
        if isinstance(witness, lnv2.Claim):
            assert lnv2.is_preimage(contract.payment_image, witness.preimage)
        if isinstance(witness, lnv2.Cancel):
            assert secp.verify_schnorr(
                contract.claim_pk, contract.contract_id(), witness.forfeit_signature
            )

    def value_out(self, item: Any) -> Value:
        match self.output(item):
            case mintv2.MintOutput() as output:
                amount = output.amount_msat()
                return Value(amount, self.mint_fee.fee_msat(amount))
            case walletv2.WalletOutput() as output:
                amount = output.amount_msat()
                return Value(amount, self.wallet_fee.fee_msat(amount))
            case lnv2.OutputV0(lnv2.OutgoingOutput(contract)):
                amount = contract.amount_msat
                return Value(amount, self.ln_fee.fee_msat(amount))
            case lnv2.OutputV0(lnv2.IncomingOutput(contract)):
                amount = contract.commitment.amount_msat
                return Value(amount, self.ln_fee.fee_msat(amount))
        raise AssertionError(item)


class V1Ledger(V2Ledger):
    """Values of items of the v1 modules."""

    def __init__(self, session: Any) -> None:
        config = _config(session)
        mint_config = config.find(MintClientConfig)
        wallet_config = config.find(WalletClientConfig)
        assert mint_config is not None
        assert wallet_config is not None
        self.config = config
        self.mint_fee = mint_config[1].fee_consensus
        self.peg_in_msat = wallet_config[1].fee_consensus.peg_in_msat
        outputs = [
            output.inner
            for transaction, _ in _transactions(session)
            for item in transaction.outputs
            if isinstance(output := self.output(item), ln.OutputV0)
        ]
        self.funded = {
            output.contract.contract_id(): output.contract
            for output in outputs
            if isinstance(output, ln.ContractOutput)
        }
        self.cancelled = {
            output.contract_id: output.gateway_signature
            for output in outputs
            if isinstance(output, ln.CancelOutgoing)
        }
        self.preimage_keys = {
            bytes.fromhex(call.params): bytes(
                call.result[0]["contract"]["decrypted_preimage"]["Some"]
            )
            for call in session.of("module_0_await_preimage_decryption")
        }

    def value_in(self, item: Any) -> Value:
        match self.input(item):
            case mint.MintInput(amount, note):
                return Value(amount, self.mint_fee.fee_msat(amount), note.nonce)
            case wallet.PegIn(_, tweak_key, tx_out):
                return Value(tx_out.value_sat * 1000, self.peg_in_msat, tweak_key)
            case ln.LightningInput(contract_id, amount, preimage):
                contract = self.funded[contract_id]
                if isinstance(contract, ln.IncomingContract):
                    return Value(amount, 0, self.preimage_keys[contract_id])
                if preimage is not None:
                    assert lnv2.is_preimage(lnv2.HashImage(contract.payment_hash), preimage)
                    return Value(amount, 0, contract.gateway_key)
                assert secp.verify_schnorr(
                    contract.gateway_key,
                    contract.cancellation_digest(),
                    self.cancelled[contract_id],
                )
                return Value(amount, 0, contract.user_key)
        raise AssertionError(item)

    def value_out(self, item: Any) -> Value:
        match self.output(item):
            case mint.MintOutput(amount, _):
                return Value(amount, self.mint_fee.fee_msat(amount))
            case ln.OutputV0(ln.ContractOutput(amount, _)):
                return Value(amount, 0)
            case ln.OutputV0():
                return Value(0, 0)
        raise AssertionError(item)


@pytest.mark.parametrize(("version", "ledger"), [("v1", V1Ledger), ("v2", V2Ledger)])
def test_transactions_are_signed_and_balance(
    sessions: dict[str, Any], version: str, ledger: type[V2Ledger]
) -> None:
    book = ledger(sessions[version])
    signatures = 0
    for transaction, _ in _transactions(sessions[version]):
        inputs = [book.value_in(item) for item in transaction.inputs]
        outputs = [book.value_out(item) for item in transaction.outputs]
        assert signature_error(transaction, [value.key for value in inputs]) is None
        surplus = (
            sum(value.amount_msat for value in inputs)
            - sum(value.amount_msat for value in outputs)
            - sum(value.fee_msat for value in inputs + outputs)
        )
        # What stays is less than the smallest note is worth with its fee.
        assert 0 <= surplus < 612
        signatures += len(inputs)
    assert signatures == {"v1": 51, "v2": 104}[version]


def test_wrong_keys_are_noticed(sessions: dict[str, Any]) -> None:
    book = V2Ledger(sessions["v2"])
    transaction = next(tx for tx, _ in _transactions(sessions["v2"]) if len(tx.inputs) > 1)
    keys = [book.value_in(item).key for item in transaction.inputs]
    assert signature_error(transaction, keys) is None
    assert signature_error(transaction, keys[:-1]) is not None
    assert signature_error(transaction, [*keys[:-1], secp.public_key(b"\x07" * 32)]) is not None


def test_ids_of_v1_contracts_are_those_the_federation_knows(sessions: dict[str, Any]) -> None:
    seen = 0
    for call in sessions["v1"].of("module_0_await_account"):
        account = call.result["contract"]["Outgoing"]
        contract = ln.OutgoingContract(
            bytes.fromhex(account["hash"]),
            bytes.fromhex(account["gateway_key"]),
            account["timelock"],
            bytes.fromhex(account["user_key"]),
            account["cancelled"],
        )
        assert contract.contract_id().hex() == call.params
        seen += 1
    assert seen > 0


def test_ids_of_v2_contracts_are_those_the_federation_knows(sessions: dict[str, Any]) -> None:
    book = V2Ledger(sessions["v2"])
    seen = 0
    for call in sessions["v2"].of("module_0_outgoing_contract_expiration"):
        if call.result is not None:
            out_point = OutPointJson(**call.params).to_out_point()
            assert book.contracts[out_point].contract_id().hex() == call.result[0]
            seen += 1
    assert seen > 0


def test_bitcoin_out_points_show_the_txid_reversed(sessions: dict[str, Any]) -> None:
    call = sessions["v1"].of("module_3_utxo_confirmed")[0]
    book = V1Ledger(sessions["v1"])
    peg_ins = [
        peg_in.out_point
        for transaction, _ in _transactions(sessions["v1"])
        for item in transaction.inputs
        if isinstance(peg_in := book.input(item), wallet.PegIn)
    ]
    assert [str(out_point) for out_point in peg_ins] == [call.params]
    assert BITCOIN_OUT_POINT.decode(BITCOIN_OUT_POINT.encode(peg_ins[0])) == peg_ins[0]
