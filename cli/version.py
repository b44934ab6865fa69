"""The version of this program: the number of the release and a hash of its sources."""

from pathlib import Path

# What the wheel holds besides errors.py; a test compares it with pyproject.toml.
PACKAGES = (
    "api",
    "backends",
    "cli",
    "devnet",
    "engine",
    "fedimint",
    "fuzz",
    "gateway",
    "migrations",
    "statemachines",
)
# Packages for developers: the wheel leaves them out, so the hash does too.
NOT_INSTALLED = ("devnet.real", "fuzz.mutants")


def version() -> str:
    """The release, such as 0.13.0."""
    from importlib.metadata import version as installed  # noqa: PLC0415 - seldom asked, slow to load

    return installed("fedimint-gateway")


def banner(program: str) -> str:
    """What `--version` prints: two words, since devimint takes the second one (devimint/src/util.rs)."""
    return f"{program} {version()}"


def version_hash(root: Path | None = None) -> str:
    """The first 40 hex characters of a SHA-256 over our sources below `root`, names and contents.

    40 characters like the git commit that the Rust programs print in this place.
    """
    import hashlib  # noqa: PLC0415 - seldom asked, slow to load

    root = root or Path(__file__).parent.parent
    digest = hashlib.sha256()
    sources = [root / "errors.py"]
    for package in PACKAGES:
        sources.extend((root / package).rglob("*.py"))
    for source in sorted(sources):
        if ".".join(source.relative_to(root).parts[:2]) in NOT_INSTALLED:
            continue
        name = source.relative_to(root).as_posix().encode()
        content = source.read_bytes()
        # Lengths in front, so that no two trees give the same bytes.
        digest.update(b"%d:%s%d:" % (len(name), name, len(content)) + content)
    return digest.hexdigest()[:40]
