"""What the API needs from outside: the application, or the setup of one that has no mnemonic yet.

Every method may be cancelled at any await: a client that left, or a time limit, ends only the waiting of
its caller. What was decided stays decided and goes on without anyone listening. Ids, keys, hashes and
txids are lower-case hex, in decoded requests of lnv2 bytes. A federation that is not served is an InputError
in upstream's words, `No federation available for prefix <first 4 bytes in hex>`, unless a method says
otherwise.
"""

from typing import Protocol

from fedimint.lnv2.gateway_api import CreateInvoice, Forfeited, Paid, RoutingInfo, SendPayment
from gateway import views


class Federations(Protocol):
    """The federations joined, and what is set for each."""

    async def connect_federation(self, invite_code: str, *, recover: bool) -> views.FederationInfo:
        """Join, or recover the ecash held there before. Raises ConflictError when it is joined already."""
        ...

    async def leave_federation(
        self, federation_id: str, *, give_up: bool = False
    ) -> views.FederationInfo:
        """Leave, and tell how the federation stood.

        Raises ConflictError while something is under way, unless that is given up.
        """
        ...

    async def federation_status(self, federation_id: str) -> views.Serving | None:
        """How well a federation is served; None when it is not."""
        ...

    async def invite_codes(self) -> tuple[views.FederationInvites, ...]:
        """An invite code for each guardian of each federation."""
        ...

    async def client_config(
        self, federation_id: str | None
    ) -> tuple[views.StoredClientConfig, ...]:
        """The config of one federation, or of all with None."""
        ...

    async def set_fees(self, change: views.FeeChange) -> None:
        """Change fees, all or nothing. Raises InputError for fees that clients would refuse."""
        ...

    async def set_payment_policy(
        self, federation_id: str | None, *, receive_enabled: bool | None
    ) -> None:
        """Allow or forbid receiving in one federation, or in all with None; `receive_enabled` None leaves it."""
        ...

    async def set_exposure_cap(
        self, federation_id: str | None, cap_msat: int | None
    ) -> tuple[views.ExposureInfo, ...]:
        """Bound what may be at stake in one federation, or in each with None; `cap_msat` None for the default."""
        ...

    async def trust_again(self, federation_id: str) -> tuple[views.ExposureInfo, ...]:
        """Pay out of a federation again that refused a claim."""
        ...

    async def backup(self, federation_id: str) -> None:
        """Make sure that the mnemonic alone brings the ecash back; nothing to do for modules of version 2."""
        ...


class ClientPayments(Protocol):
    """What anyone may ask for."""

    async def gateway_id(self) -> str:
        """The key under which this gateway is known over HTTP."""
        ...

    async def routing_info(self, federation_id: str) -> RoutingInfo | None:
        """Fees, keys and deltas; None when the federation has no lnv2 module."""
        ...

    async def send_payment(self, request: SendPayment) -> Paid | Forfeited:
        """Wait until the payment is paid or cancelled, however long that takes."""
        ...

    async def create_invoice(self, request: CreateInvoice) -> str:
        """The BOLT11 invoice whose payment funds the contract.

        Raises InputError for what fails a check of gateway.md 4.2, ConflictError for a second contract of
        the same hash.
        """
        ...

    async def verify(self, payment_hash: str, *, wait: bool) -> views.Verification:
        """How a registered invoice stands; with `wait`, at most 30 seconds after it began to be paid.

        Raises NotFoundError for a hash that no registered contract has.
        """
        ...

    async def receive_ecash(self, notes: str) -> int:
        """Reissue ecash and return its worth in msat once that is final."""
        ...


class Treasury(Protocol):
    """Ecash and coins of the gateway's own."""

    async def balances(self) -> views.GatewayBalances:
        """What chain, channels and federations hold. Raises UnavailableError while the node does not answer."""
        ...

    async def spend_ecash(self, federation_id: str, amount_msat: int) -> str:
        """Ecash as text, worth at least the amount."""
        ...

    async def sent_ecash(
        self, federation_id: str | None, limit: int
    ) -> tuple[views.SentEcash, ...]:
        """The newest ecash that was asked for as text, of one federation or of all."""
        ...

    async def show_sent_ecash(self, gift_id: str) -> str:
        """The text of ecash that was asked for before. Raises NotFoundError for an id that names none."""
        ...

    async def deposit_address(self, federation_id: str) -> str:
        """The bitcoin address whose coins become our ecash."""
        ...

    async def recheck_address(self, federation_id: str, address: str) -> None:
        """Look for coins at an address now. Deposits are found without it."""
        ...

    async def withdraw(self, request: views.WithdrawalRequest) -> views.Withdrawal:
        """Pay out of a federation, and wait until it accepted that."""
        ...

    async def withdraw_to_onchain(
        self, federation_id: str, amount_sat: int | None
    ) -> views.Withdrawal:
        """Pay out of a federation to the Lightning node's own wallet; None is all."""
        ...

    async def pegin_from_onchain(self, request: views.PeginRequest) -> str:
        """Send coins of the Lightning node to a federation and return the txid."""
        ...


class OperatorNode(Protocol):
    """The Lightning node, for its operator. All but `why_no_offers` raise UnavailableError while it does not answer."""

    async def create_operator_invoice(self, request: views.OperatorInvoiceRequest) -> str:
        """A BOLT11 invoice that pays the node itself."""
        ...

    async def pay_operator_invoice(self, invoice: str) -> Paid:
        """Pay an invoice from the node's own funds and wait for the preimage.

        Raises InputError for an invoice that cannot be paid, such as one without an amount.
        """
        ...

    def why_no_offers(self) -> str:
        """Why BOLT 12 offers are neither made nor paid, in words."""
        ...

    async def node_invoice(self, payment_hash: str) -> views.InvoiceRecord | None:
        """An invoice of the node, None when it has none of this hash."""
        ...

    async def node_transactions(
        self, start_unix_s: int, end_unix_s: int
    ) -> tuple[views.NodeTransaction, ...]:
        """What the node paid or received in start <= time <= end, oldest first."""
        ...

    async def onchain_address(self) -> str:
        """A fresh address of the node's wallet."""
        ...

    async def send_onchain(self, order: views.SendCoins) -> str:
        """Send coins from the node's wallet and return the txid."""
        ...

    async def open_channel(self, order: views.OpenChannel) -> str:
        """Open a channel and return its funding txid."""
        ...

    async def close_channels(
        self, public_key: str, *, force: bool, sat_per_vbyte: int | None
    ) -> int:
        """Begin to close every channel with a peer and return how many there were."""
        ...

    async def channels(self) -> tuple[views.Channel, ...]:
        """All open channels of the node."""
        ...

    async def set_channel_fees(
        self, funding_out_point: str, *, base_fee_msat: int, parts_per_million: int
    ) -> None:
        """Set our fees of the channel "txid:vout". Raises NotFoundError without such a channel."""
        ...

    async def connect_peer(self, public_key: str, host: str) -> None:
        """Connect to a peer at "name:port"; being connected already is fine."""
        ...

    async def retry(self, stream: str) -> str:
        """Try again what a mistake of this program was met in, and return the stream's state.

        Raises NotFoundError when it is not quarantined, UnavailableError when only another version can read it.
        """
        ...

    async def dismiss(self, stream: str) -> str:
        """End a payment or an order whose call was never answered, and return its state.

        Raises ConflictError with the reason when it must go on, InputError or NotFoundError when it is none.
        """
        ...

    async def replace_node(self, gone: str | None) -> views.NodeReplacement:
        """Put the node that answers in the place of `gone` (hex); without it, say what that would mean.

        Raises ConflictError while no other node answers, or when `gone` is not the gateway's node.
        """
        ...


class History(Protocol):
    """What happened."""

    async def payment_log(self, query: views.LogQuery) -> tuple[views.PaymentLogEntry, ...]:
        """Entries of one federation, newest first."""
        ...

    async def payment_summary(self, start_unix_ms: int, end_unix_ms: int) -> views.PaymentSummary:
        """Payments of start <= time < end, which is not empty."""
        ...


class Gateway(Protocol):
    """Everything that the API needs of the application."""

    @property
    def federations(self) -> Federations: ...
    @property
    def payments(self) -> ClientPayments: ...
    @property
    def treasury(self) -> Treasury: ...
    @property
    def node(self) -> OperatorNode: ...
    @property
    def history(self) -> History: ...

    async def info(self) -> views.GatewayStatus:
        """The state of everything."""
        ...

    async def mnemonic(self) -> views.MnemonicResponse:
        """The words that bring back every key."""
        ...


class Setup(Protocol):
    """A process without a mnemonic, which is all it can be given."""

    async def set_mnemonic(self, words: str | None) -> None:
        """Store the words, or new ones with None, and return once the gateway has started with them.

        Raises InputError for words that are no mnemonic, ConflictError when there is one already.
        """
        ...
