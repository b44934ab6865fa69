"""The client config of a federation: its JSON form, its id, its modules.

Source: fedimint-core/src/config.rs. The federation id covers the API endpoints alone, so the rest
is to be trusted only when a threshold of guardians gives the same.
"""

from typing import TypeVar

import msgspec

from fedimint.codec.encoding import STRING, Codec, mapping, struct
from fedimint.codec.errors import DecodeError
from fedimint.codec.urls import SAFE_URL
from fedimint.codec.wire_types import PEER_ID, PUBLIC_KEY, FederationId, PeerId, consensus_hash
from fedimint.modules import CONFIG_CODECS
from fedimint.transaction import DYN_ITEM, DynItem

C = TypeVar("C", bound=msgspec.Struct)


class ApiEndpoint(msgspec.Struct, frozen=True):
    """Where a guardian's API is, and what the guardian is called."""

    url: str
    name: str


class Version(msgspec.Struct, frozen=True, order=True):
    """A consensus version."""

    major: int
    minor: int


class ModuleConfig(msgspec.Struct, frozen=True):
    """One module instance: its kind, version, and the encoded config under its instance id."""

    kind: str
    version: Version
    config: DynItem

    def decode(self) -> msgspec.Struct | None:
        """Return the config, None for an unknown kind. Raises `DecodeError`."""
        codec = CONFIG_CODECS.get(self.kind)
        return None if codec is None else codec.decode(self.config.body)


class ClientConfig(msgspec.Struct, frozen=True):
    """What a client knows of a federation; broadcast keys have 33 bytes."""

    api_endpoints: dict[PeerId, ApiEndpoint]
    broadcast_public_keys: dict[PeerId, bytes] | None
    consensus_version: Version
    meta: dict[str, str]
    modules: dict[int, ModuleConfig]

    @classmethod
    def from_json(cls, json: object) -> "ClientConfig":
        """Read the decoded JSON that `client_config` answers. Raises `DecodeError`."""
        try:
            form = msgspec.convert(json, _ConfigJson, str_keys=True)
        except msgspec.ValidationError as error:
            raise DecodeError(f"not a client config: {error}") from None
        config = cls(
            form.api_endpoints,
            None
            if form.broadcast_public_keys is None
            else {
                peer: PUBLIC_KEY.decode_hex(key) for peer, key in form.broadcast_public_keys.items()
            },
            form.consensus_version,
            form.meta,
            {
                instance_id: ModuleConfig(
                    module.kind, module.version, DYN_ITEM.decode_hex(module.config)
                )
                for instance_id, module in form.modules.items()
            },
        )
        _check(config)
        return config

    def to_json(self) -> dict[str, object]:
        """Return the JSON form as builtins; keys of maps are texts."""
        keys = self.broadcast_public_keys
        form = _ConfigJson(
            api_endpoints=self.api_endpoints,
            broadcast_public_keys=None
            if keys is None
            else {peer: key.hex() for peer, key in keys.items()},
            consensus_version=self.consensus_version,
            meta=self.meta,
            modules={
                instance_id: _ModuleJson(
                    module.kind, module.version, DYN_ITEM.encode(module.config).hex()
                )
                for instance_id, module in self.modules.items()
            },
        )
        json: dict[str, object] = msgspec.to_builtins(form, str_keys=True)
        return json

    def federation_id(self) -> FederationId:
        """Return sha256 of the encoded API endpoints."""
        return FederationId(consensus_hash(API_ENDPOINTS.encode(self.api_endpoints)))

    def find(self, config_type: type[C]) -> tuple[int, C] | None:
        """Return instance id and config of the first module with this config class, by id.

        None when the federation has no such module. Raises `DecodeError`.
        """
        for instance_id in sorted(self.modules):
            module = self.modules[instance_id]
            codec = CONFIG_CODECS.get(module.kind)
            if codec is not None and codec.struct_type is config_type:
                config: C = codec.decode(module.config.body)
                return instance_id, config
        return None

    def kind_of(self, instance_id: int) -> str | None:
        """Return the kind of a module instance, None if there is none of this id."""
        module = self.modules.get(instance_id)
        return None if module is None else module.kind

    def federation_name(self) -> str | None:
        """Return the name in the config's meta, which may be a JSON text or bare."""
        name = self.meta.get("federation_name")
        if name is None:
            return None
        try:
            return msgspec.json.decode(name, type=str)
        except msgspec.DecodeError:
            return name


class _ModuleJson(msgspec.Struct, frozen=True):
    kind: str
    version: Version
    config: str


class _ConfigJson(msgspec.Struct, frozen=True, kw_only=True):
    api_endpoints: dict[PeerId, ApiEndpoint]
    broadcast_public_keys: dict[PeerId, str] | None = None
    consensus_version: Version
    meta: dict[str, str]
    modules: dict[int, _ModuleJson]


def _check(config: ClientConfig) -> None:
    if not config.api_endpoints:
        raise DecodeError("a client config without guardians")
    versions = [config.consensus_version, *(module.version for module in config.modules.values())]
    numbers = [*config.api_endpoints, *config.modules]
    if not all(0 <= part < 1 << 32 for v in versions for part in (v.major, v.minor)) or not all(
        0 <= number < 1 << 16 for number in numbers
    ):
        raise DecodeError("a version, guardian or module of the client config has an absurd number")
    for instance_id, module in config.modules.items():
        if module.config.module_instance_id != instance_id:
            raise DecodeError(f"the config of module {instance_id} is of another module")


API_ENDPOINTS: Codec[dict[PeerId, ApiEndpoint]] = mapping(
    PEER_ID, struct(ApiEndpoint, url=SAFE_URL, name=STRING)
)
