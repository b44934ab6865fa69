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
