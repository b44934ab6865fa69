# What module/src/ defines, and describes.

import py_arkworks_bls12381 as arkworks

class NativeError(Exception): ...

class accel:  # noqa: N801 - a module in truth, which a stub can only show like this
    # The points are of classes that have the shape of arkworks', as far as the gateway uses it.
    G1Point: type[arkworks.G1Point]
    G2Point: type[arkworks.G2Point]

    @staticmethod
    def find_tweak(tweak_filter: bytes, start: bytes, tries: int) -> bytes | None: ...
    @staticmethod
    def find_tweak_now(tweak_filter: bytes, start: bytes, tries: int) -> bytes | None: ...
    @staticmethod
    def multiply_sum_g1(
        points: list[arkworks.G1Point], scalars: list[arkworks.Scalar]
    ) -> arkworks.G1Point: ...
    @staticmethod
    def pairing_check(
        g1_points: list[arkworks.G1Point], g2_points: list[arkworks.G2Point]
    ) -> bool: ...
    @staticmethod
    def point_of_g1(x: bytes, flip: bool) -> arkworks.G1Point | None: ...
    @staticmethod
    def point_of_g2(x: bytes, flip: bool) -> arkworks.G2Point | None: ...

class iroh:  # noqa: N801 - as well
    class Mailbox:
        def fileno(self) -> int: ...
        def take(self) -> list[tuple[int, object]]: ...

    class Failure:
        kind: str
        reason: str

    class Task:
        def cancel(self) -> None: ...

    class Inflow:
        def __init__(self, burst_bytes: int, bytes_per_s: int) -> None: ...

    class Dialer:
        def __init__(
            self,
            mailbox: iroh.Mailbox,
            *,
            pkarr: str | None,
            resolves_pkarr: bool,
            uses_n0: bool,
            addresses: dict[str, str],
        ) -> None: ...
        def dial(self, number: int, node: str, protocol: bytes) -> iroh.Task: ...
        def ask(
            self,
            number: int,
            connection: iroh.Connection,
            request: bytes,
            max_answer_bytes: int,
            inflow: iroh.Inflow,
        ) -> iroh.Task: ...
        def close(self, number: int) -> iroh.Task: ...

    class Connection:
        def end(self) -> str | None: ...
        def close(self, code: int, reason: bytes) -> None: ...

    class Server:
        def node_id(self) -> str: ...
        def address(self) -> str: ...
        def close(self, mailbox: iroh.Mailbox, number: int) -> iroh.Task: ...

    class Request:
        def body(self) -> bytes: ...
        def answer(self, body: bytes) -> None: ...
        def is_abandoned(self) -> bool: ...

    @staticmethod
    def serve(
        mailbox: iroh.Mailbox,
        number: int,
        *,
        secret: bytes,
        listen: str,
        protocol: bytes,
        relays: list[str] | None,
        pkarr: str | None,
        resolves_pkarr: bool,
        publishes_pkarr: bool,
        uses_n0: bool,
        max_connections: int,
        max_requests: int,
        max_request_bytes: int,
        arrival_s: int,
        idle_s: int,
    ) -> iroh.Task: ...
    @staticmethod
    def node_id_of(secret: bytes) -> str: ...

class ldk:  # noqa: N801 - as well
    class LdkError(Exception):
        args: tuple[str, str]

    class Event:
        kind: str
        payment_hash: bytes | None
        preimage: bytes | None
        amount_msat: int | None
        fee_msat: int | None
        deadline_height: int | None
        user_channel_id: bytes | None
        funding_txid: str | None
        reason: str | None

    class Payment:
        id: bytes
        kind: str
        payment_hash: bytes | None
        preimage: bytes | None
        txid: str | None
        amount_msat: int | None
        fee_msat: int | None
        is_outbound: bool
        status: str
        updated_unix_s: int

    class Channel:
        user_channel_id: bytes
        public_key: str
        alias: str | None
        address: str | None
        funding_out_point: str | None
        capacity_sat: int
        outbound_msat: int
        inbound_msat: int
        our_reserve_sat: int
        their_reserve_sat: int
        is_usable: bool
        is_ready: bool
        is_ours: bool
        base_fee_msat: int
        parts_per_million: int

    class Status:
        is_running: bool
        block_height: int
        lightning_unix_s: int | None
        onchain_unix_s: int | None

    class Node:
        def __init__(
            self,
            *,
            folder: str,
            words: str,
            network: str,
            port: int,
            alias: bytes,
            recovers: bool,
            bitcoind: tuple[str, int, str, str] | None,
            esplora: str | None,
        ) -> None: ...
        def start(self) -> None: ...
        def stop(self) -> None: ...
        def next_event(self, wait_ms: int) -> ldk.Event | None: ...
        def event_handled(self) -> None: ...
        def take_logs(self) -> list[tuple[bool, str, str]]: ...
        def public_key(self) -> str: ...
        def alias(self) -> str: ...
        def status(self) -> ldk.Status: ...
        def onchain_sat(self) -> int: ...
        def send(self, invoice: str, max_fee_msat: int, max_delay_blocks: int) -> None: ...
        def payment(self, payment_hash: bytes) -> ldk.Payment | None: ...
        def forget(self, payment_hash: bytes) -> None: ...
        def payments(self, start_unix_s: int, end_unix_s: int) -> list[ldk.Payment]: ...
        def receive(
            self,
            *,
            amount_msat: int,
            description: str | None,
            description_hash: bytes | None,
            expiry_s: int,
            payment_hash: bytes | None,
        ) -> str: ...
        def claim(self, payment_hash: bytes, preimage: bytes) -> None: ...
        def fail(self, payment_hash: bytes) -> None: ...
        def new_address(self) -> str: ...
        def send_onchain(self, address: str, amount_sat: int | None, sat_per_vbyte: int) -> str: ...
        def connect(self, public_key: str, address: str) -> None: ...
        def open_channel(
            self,
            *,
            public_key: str,
            address: str,
            capacity_sat: int,
            push_msat: int,
            base_fee_msat: int | None,
            parts_per_million: int | None,
        ) -> bytes: ...
        def channels(self) -> list[ldk.Channel]: ...
        def close_channel(self, user_channel_id: bytes, public_key: str, force: bool) -> None: ...
        def set_channel_fees(
            self, user_channel_id: bytes, base_fee_msat: int, parts_per_million: int
        ) -> None: ...

    @staticmethod
    def broken() -> str | None: ...
