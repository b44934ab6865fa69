"""Client configs: JSON and byte forms, federation ids, module configs, URLs."""

import copy
from typing import Any

import pytest

from fedimint.codec.errors import DecodeError
from fedimint.codec.urls import safe_url
from fedimint.codec.wire_types import (
    FEE_CONSENSUS,
    NETWORK,
    NETWORK_LEGACY,
    WALLET_FEE_CONSENSUS,
    FeeConsensus,
)
from fedimint.config import ClientConfig
from fedimint.ln.config import LnClientConfig
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.mint.config import MintClientConfig
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.modules import CONFIG_CODECS, MetaClientConfig
from fedimint.wallet.config import WalletClientConfig
from fedimint.walletv2.config import WalletV2ClientConfig


def test_configs_survive_both_forms(federations: dict[str, dict[str, Any]]) -> None:
    for federation in federations.values():
        config = ClientConfig.from_json(federation["client_config"])
        assert config.to_json() == federation["client_config"]
        assert config.federation_id().hex() == federation["federation_id"]
        for module in config.modules.values():
            decoded = module.decode()
            assert CONFIG_CODECS[module.kind].encode(decoded) == module.config.body


def test_v2_modules_say_what_the_guardian_says_in_json(
    federations: dict[str, dict[str, Any]],
) -> None:
    config = ClientConfig.from_json(federations["v2"]["client_config"])
    json = federations["v2"]["client_config_json"]["modules"]
    lnv2, mintv2, walletv2 = (
        config.find(LnV2ClientConfig),
        config.find(MintV2ClientConfig),
        config.find(WalletV2ClientConfig),
    )
    assert lnv2 is not None
    assert mintv2 is not None
    assert walletv2 is not None
    assert (lnv2[0], mintv2[0], walletv2[0]) == (0, 2, 3)
    assert lnv2[1].tpe_agg_pk.hex() == json["0"]["tpe_agg_pk"]
    assert lnv2[1].fee_consensus == FeeConsensus(json["0"]["fee_consensus"]["base"], 0)
    assert lnv2[1].network == json["0"]["network"]
    assert {str(d): key.hex() for d, key in mintv2[1].tbs_agg_pks.items()} == json["2"][
        "tbs_agg_pks"
    ]
    assert {
        str(d): {str(peer): key.hex() for peer, key in keys.items()}
        for d, keys in mintv2[1].tbs_pks.items()
    } == json["2"]["tbs_pks"]
    assert walletv2[1].dust_limit_sat == json["3"]["dust_limit"]
    assert walletv2[1].send_tx_vbytes == json["3"]["send_tx_vbytes"]
    assert walletv2[1].feerate_base == json["3"]["feerate_base"]
    assert config.find(MetaClientConfig) == (1, MetaClientConfig())
    assert config.find(MintClientConfig) is None
    assert config.kind_of(2) == "mintv2"
    assert config.kind_of(9) is None
    assert config.federation_name() == "fed0"


def test_v1_modules_say_what_the_guardian_says_in_json(
    federations: dict[str, dict[str, Any]],
) -> None:
    config = ClientConfig.from_json(federations["v1"]["client_config"])
    json = federations["v1"]["client_config_json"]["modules"]
    ln, mint, wallet = (
        config.find(LnClientConfig),
        config.find(MintClientConfig),
        config.find(WalletClientConfig),
    )
    assert ln is not None
    assert mint is not None
    assert wallet is not None
    assert ln[1].threshold_pub_key.hex() == json["0"]["threshold_pub_key"]
    assert {str(t): key.hex() for t, key in mint[1].tbs_pks.items()} == json["2"]["tbs_pks"]
    assert mint[1].max_notes_per_denomination == json["2"]["max_notes_per_denomination"]
    assert wallet[1].peg_in_descriptor == json["3"]["peg_in_descriptor"]
    assert wallet[1].finality_delay_blocks == json["3"]["finality_delay"]
    assert wallet[1].fee_consensus.peg_in_msat == json["3"]["fee_consensus"]["peg_in_abs"]
    assert wallet[1].default_bitcoin_rpc.url == json["3"]["default_bitcoin_rpc"]["url"]


def test_an_unknown_module_is_kept(federations: dict[str, dict[str, Any]]) -> None:
    json = copy.deepcopy(federations["v2"]["client_config"])
    json["modules"]["7"] = {
        "kind": "new",
        "version": {"major": 0, "minor": 0},
        "config": "0702aabb",
    }
    config = ClientConfig.from_json(json)
    assert config.modules[7].decode() is None
    assert config.to_json() == json


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("api_endpoints",), {}),
        (("api_endpoints", "x"), {"url": "ws://a", "name": ""}),
        (("broadcast_public_keys", "0"), "00" * 33),
        (("modules", "0", "config"), "01"),
        (("modules", "0", "config"), "0100"),
        (("modules", "0", "config"), 5),
        (("meta",), None),
    ],
)
def test_malformed_configs_are_refused(
    federations: dict[str, dict[str, Any]], path: tuple[str, ...], value: object
) -> None:
    json = copy.deepcopy(federations["v2"]["client_config"])
    inner = json
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(DecodeError):
        ClientConfig.from_json(json)


@pytest.mark.parametrize("json", [None, [], {}, "x"])
def test_other_json_is_no_config(json: object) -> None:
    with pytest.raises(DecodeError, match="not a client config"):
        ClientConfig.from_json(json)


def test_fees_round_down_and_saturate() -> None:
    fee = FeeConsensus(1_000, 1_000)
    assert [fee.fee_msat(a) for a in (0, 999, 1_000, 1_000_000)] == [1_000, 1_000, 1_001, 2_000]
    assert fee.fee_msat(2**63) == (2**64 - 1) // 1_000_000 + 1_000
    with pytest.raises(DecodeError, match="1001 ppm"):
        FEE_CONSENSUS.decode_hex("00fd03e9")


def test_the_wallet_may_charge_more_than_others() -> None:
    assert WALLET_FEE_CONSENSUS.decode_hex("00fd2710") == FeeConsensus(0, 10_000)
    with pytest.raises(DecodeError, match="10001 ppm"):
        WALLET_FEE_CONSENSUS.decode_hex("00fd2711")


def test_networks_have_two_forms() -> None:
    assert NETWORK.encode("regtest").hex() == "fabfb5da"
    assert NETWORK_LEGACY.encode("regtest").hex() == "fedab5bffa"
    assert NETWORK.decode_hex("f9beb4d9") == NETWORK_LEGACY.decode_hex("fed9b4bef9") == "bitcoin"
    with pytest.raises(DecodeError, match="unknown network"):
        NETWORK.decode_hex("00000000")


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("ws://127.0.0.1:8174", "ws://127.0.0.1:8174/"),
        ("wss://Fed.Example:443", "wss://fed.example/"),
        ("https://u:p@a.b/x?q=1#f", "https://REDACTEDUSER:REDACTEDPASS@a.b/x"),
        ("iroh://00ff", "iroh://00ff"),
        ("ws://[::1]:80/", "ws://[::1]/"),
        ("fedimint://host:8173", "fedimint://host:8173"),
    ],
)
def test_urls_take_upstreams_encoded_form(text: str, encoded: str) -> None:
    assert safe_url(text) == encoded


@pytest.mark.parametrize("text", ["", "host", "ws://", "ws://[::g]/", "ws://a:99999/"])
def test_bad_urls_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        safe_url(text)
