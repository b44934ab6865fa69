"""Records a real gateway registered with a federation of the ln module."""

from typing import Any

import msgspec

from fedimint.codec import secp
from fedimint.codec.wire_types import PeerId
from fedimint.config import ClientConfig
from fedimint.ln.config import LnClientConfig
from fedimint.ln.gateways import (
    LIGHTNING_GATEWAY,
    AnnouncementJson,
    LightningGatewayJson,
    RouteHintHop,
    registration_digest,
    removal_digest,
)


def _threshold_key(session: Any) -> bytes:
    found = ClientConfig.from_json(session.of("client_config")[0].result).find(LnClientConfig)
    assert found is not None
    return found[1].threshold_pub_key


def test_registrations_are_signed_by_the_gateway(sessions: dict[str, Any]) -> None:
    key = _threshold_key(sessions["v1"])
    calls = sessions["v1"].of("module_0_register_gateway")
    assert len(calls) == 6
    for call in calls:
        announcement = msgspec.convert(call.params, AnnouncementJson)
        assert msgspec.json.decode(msgspec.json.encode(announcement)) == call.params
        gateway = announcement.info.decode()
        assert LightningGatewayJson.of(gateway) == announcement.info
        assert LIGHTNING_GATEWAY.decode(LIGHTNING_GATEWAY.encode(gateway)) == gateway
        assert announcement.auth is not None
        digest = registration_digest(key, announcement.auth.nonce, gateway)
        signature = bytes.fromhex(announcement.auth.signature)
        assert secp.verify_schnorr(gateway.gateway_id, digest, signature)


def test_removals_answer_the_guardians_challenge(sessions: dict[str, Any]) -> None:
    key = _threshold_key(sessions["v1"])
    challenges = [
        (call.params, call.result)
        for call in sessions["v1"].of("module_0_remove_gateway_challenge")
        if call.result is not None
    ]
    removals = sessions["v1"].of("module_0_remove_gateway")
    assert removals
    for call in removals:
        gateway_id = bytes.fromhex(call.params["gateway_id"])
        signature = bytes.fromhex(call.params["signatures"]["0"])
        assert any(
            secp.verify_schnorr(
                gateway_id, removal_digest(key, PeerId(0), bytes.fromhex(challenge)), signature
            )
            for asked_id, challenge in challenges
            if asked_id == call.params["gateway_id"]
        )


def test_route_hints_survive(sessions: dict[str, Any]) -> None:
    params = sessions["v1"].of("module_0_register_gateway")[0].params
    gateway = msgspec.convert(params, AnnouncementJson).info.decode()
    hop = RouteHintHop(gateway.node_pub_key, 2**64 - 1, 1, 2, 40, None, 5)
    hinted = msgspec.structs.replace(gateway, route_hints=((hop,), (hop, hop)))
    assert LightningGatewayJson.of(hinted).decode() == hinted
    assert LIGHTNING_GATEWAY.decode(LIGHTNING_GATEWAY.encode(hinted)) == hinted
