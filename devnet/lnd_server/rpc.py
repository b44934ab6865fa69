"""How the calls of a simulated LND reach its node: one handler per call, macaroon checked, errors as LND's.

A service is a table from the name of a call to its handler, so that a call nobody serves is UNIMPLEMENTED.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
import grpc.aio

from backends.lightning import NodeRefusedError, NodeUnansweredError
from errors import GatewayError, NotFoundError

Message = Any
"""A protobuf message of LND's stubs, which have no types."""

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Calls = dict[str, Handler]

_PERMISSION_DENIED = "verification failed: the macaroon is missing or another node's"


def one_answer(serve: Callable[[Message], Awaitable[Message]], request_type: Message) -> Handler:
    """Handle a call with one answer."""

    async def call(request: Message, context: Context) -> Message:
        try:
            return await serve(request)
        except GatewayError as error:
            return await _abort(context, error)

    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request_type.FromString, response_serializer=_serialised
    )


def many_answers(
    serve: Callable[[Message], AsyncGenerator[Message, None]], request_type: Message
) -> Handler:
    """Handle a call that is answered by a stream."""

    async def call(request: Message, context: Context) -> AsyncGenerator[Message, None]:
        try:
            async with aclosing(serve(request)) as messages:
                async for message in messages:
                    yield message
        except GatewayError as error:
            await _abort(context, error)

    return grpc.unary_stream_rpc_method_handler(
        call, request_deserializer=request_type.FromString, response_serializer=_serialised
    )


class MacaroonCheck(grpc.aio.ServerInterceptor):
    """Lets callers with the macaroon through."""

    def __init__(self, macaroon: bytes) -> None:
        self._wanted = macaroon.hex()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Answer UNKNOWN, as LND does, to everybody else."""
        if ("macaroon", self._wanted) in handler_call_details.invocation_metadata:
            return await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(_refuse)


async def _refuse(_request: bytes, context: Context) -> None:
    await context.abort(grpc.StatusCode.UNKNOWN, _PERMISSION_DENIED)


async def _abort(context: Context, error: GatewayError) -> None:
    if isinstance(error, NodeUnansweredError):
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    if isinstance(error, NodeRefusedError):
        await context.abort(grpc.StatusCode[error.code], error.text)
    if isinstance(error, NotFoundError):
        await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
    await context.abort(grpc.StatusCode.UNKNOWN, str(error))


def _serialised(message: Message) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
