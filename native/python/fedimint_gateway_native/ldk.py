"""The Lightning node inside. Raises ImportError when the library was built without `ldk`."""

from fedimint_gateway_native._native import ldk

Channel = ldk.Channel
Event = ldk.Event
LdkError = ldk.LdkError
Node = ldk.Node
Payment = ldk.Payment
Status = ldk.Status
broken = ldk.broken

__all__ = ["Channel", "Event", "LdkError", "Node", "Payment", "Status", "broken"]
