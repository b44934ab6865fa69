"""The readable config against what guardians and the Rust gateway showed of the same federations."""

import json
from typing import Any

from fedimint.config import ClientConfig
from fedimint.config_json import json_client_config


def test_modules_of_version_2_are_shown_as_guardians_show_them(
    federations: dict[str, dict[str, Any]],
) -> None:
    recorded = federations["v2"]
    shown = json.loads(json_client_config(ClientConfig.from_json(recorded["client_config"])))
    expected = recorded["client_config_json"]
    assert shown["global"] == expected["global"]
    assert shown["modules"].pop("1") == {"kind": "meta", "unknown_module_hex": "0100"}
    del expected["modules"]["1"]
    assert shown["modules"] == expected["modules"]


def test_other_modules_are_shown_as_bytes(federations: dict[str, dict[str, Any]]) -> None:
    config = ClientConfig.from_json(federations["v1"]["client_config"])
    shown = json.loads(json_client_config(config))
    assert {module["kind"] for module in shown["modules"].values()} >= {"ln", "mint", "wallet"}
    for module in shown["modules"].values():
        assert bytes.fromhex(module["unknown_module_hex"])
