"""The derivation of keys from the mnemonic, and that secrets do not show."""

import pickle

import pytest

from errors import ConfigError, InputError
from fedimint.crypto import secrets

WORDS = "abandon " * 11 + "about"
FEDERATION_ID = bytes(range(32))


@pytest.fixture(scope="module")
def root() -> secrets.DerivableSecret:
    return secrets.root_secret(WORDS)


@pytest.fixture(scope="module")
def module(root: secrets.DerivableSecret) -> secrets.DerivableSecret:
    return secrets.module_secret(secrets.client_secret(root, FEDERATION_ID), 2)


def test_path_from_the_words_to_a_module(root: secrets.DerivableSecret) -> None:
    assert root.to_bytes().hex().startswith("693ed4671f7acb8ddd937f96093019f6")
    pre = secrets.pre_root_secret(root, FEDERATION_ID)
    assert pre.to_bytes().hex().startswith("31be0c2c35b5c0dee0ad2edf0339dc58")
    client = secrets.client_secret(root, FEDERATION_ID)
    assert client.to_bytes().hex().startswith("3eab203103b74c2d20e950487d229d3a")
    module = secrets.module_secret(client, 2)
    assert module.to_bytes().hex().startswith("3a922f6fc797e5816b159eef0da75b4b")


def test_mint_v1_note(module: secrets.DerivableSecret) -> None:
    note = secrets.mint_note(module, 5, 1024)
    spend, blinding = note.child(0).to_secp_secret(), note.child(1).to_bls_scalar()
    assert spend.hex() == "700b4cadf1ec11444dec31afcdd73a616300ac4c9a93f7935fff8be73c91ed12"
    assert int(blinding) == 0x6B1BFE252E3C249978A08A2D918063AE03020CBD5BD909213BAC1474B6D43967


def test_mintv2_note(module: secrets.DerivableSecret) -> None:
    note = secrets.mintv2_note(module, 10, bytes(16))
    expected = "4ac68b982b15a3cfa0dfe8994922b5652045e23349dac4b618d2fe4da2e2bb80"
    assert note.to_secp_secret().hex() == expected
    assert (
        int(note.to_bls_scalar())
        == 0x3910CCD160963CD6AE002DA01EDCA7DD552CE481F999FA34DE56D9177A991613
    )
    with pytest.raises(InputError):
        secrets.mintv2_note(module, 10, bytes(15))


def test_other_uses_of_a_module_secret(module: secrets.DerivableSecret) -> None:
    assert (
        secrets.mintv2_tweak_filter(module).hex()
        == "2d9b32eb30b88902b629dbffa6365e31d4d2b0a08a20dbc9eec1bfd0b811acca"
    )
    assert (
        secrets.walletv2_deposit_secret(module, 0).hex()
        == "87a129df15b50849b95a0e4984b50d4fdca6b25a0a767a8cd3334f5078937e29"
    )
    assert (
        secrets.wallet_deposit_secret(module, 0).hex()
        == "c81171a764de7cd121f058a848d8b1640cf01e5716b70a10bcd3e46b27d87194"
    )
    assert secrets.lnv2_gateway_secret(module) == module.to_secp_secret()
    assert secrets.lnv1_redeem_secret(module) == module.child(0).to_secp_secret()


def test_secrets_are_not_shown_but_travel_to_a_worker(root: secrets.DerivableSecret) -> None:
    assert repr(root) == "DerivableSecret(hidden)"
    assert pickle.loads(pickle.dumps(root)).to_bytes() == root.to_bytes()  # noqa: S301 - our own bytes


def test_a_mnemonic_is_the_one_of_its_entropy() -> None:
    assert secrets.generate_mnemonic(bytes(16)) == WORDS
    for size in (0, 15, 32):
        with pytest.raises(InputError):
            secrets.generate_mnemonic(bytes(size))


def test_words_are_normalised_before_use(root: secrets.DerivableSecret) -> None:
    untidy = f"  {WORDS.upper()}\n".replace(" ", "  ")
    assert secrets.normalise_mnemonic(untidy) == WORDS
    assert secrets.root_secret(untidy).to_bytes() == root.to_bytes()


@pytest.mark.parametrize("form", ["{1}\n", "{0}. {1}\n", "{0:02}) {1} ", '"{1}",\n  ', "- {1}\r\n"])
def test_words_may_stand_in_a_list(form: str) -> None:
    listed = "".join(form.format(place, word) for place, word in enumerate(WORDS.split(), 1))
    assert secrets.normalise_mnemonic(listed) == WORDS


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("abandon " * 6 + "abandom " + "abandon " * 4 + "about", "BIP-39: number 7 of 12$"),
        ("abandon " * 11 + "abuot", "BIP-39: number 12 of 12$"),
        ("zoo1 zoo\u00e9 zoo x-ray", "BIP-39: number 2, 4 of 4$"),
        ("abandon " * 13, "has 13 words; 12 are usual, and 15, 18, 21 or 24 possible"),
        ("nonsense " * 10_000, "has 10000 words"),
        ("abandon " * 12, "wrong checksum: its words are all in the English list"),
    ],
)
def test_what_is_wrong_with_a_mnemonic_is_told_by_its_place(words: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        secrets.normalise_mnemonic(words)


def test_longer_mnemonics_are_taken() -> None:
    words = "abandon " * 23 + "art"
    assert secrets.normalise_mnemonic(words) == words


@pytest.mark.parametrize(
    "words", ["", "abandon " * 12, "zebra " * 11, "abandon " * 11 + "notaword", "zoo"]
)
def test_bad_words_are_refused_without_repeating_them(words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        secrets.root_secret(words)
    assert not any(word in str(raised.value) for word in words.split())


def test_fingerprints_tell_mnemonics_apart() -> None:
    first = secrets.fingerprint(WORDS)
    assert len(bytes.fromhex(first)) == 8
    assert first == secrets.fingerprint(f" {WORDS} ")
    assert first != secrets.fingerprint(secrets.generate_mnemonic(b"\x01" * 16))


def test_derivation_refuses_what_has_no_path(root: secrets.DerivableSecret) -> None:
    for index in (-1, 1 << 64):
        with pytest.raises(InputError):
            root.child(index)
    with pytest.raises(InputError):
        root.federation_key(bytes(8))
    with pytest.raises(InputError):
        root.to_random_bytes(65)
    with pytest.raises(InputError):
        secrets.DerivableSecret(bytes(32))
