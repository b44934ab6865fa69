"""Sessions for contributors and the CI: `uv run nox -l` lists them."""

import os
import pathlib
import shutil
import subprocess
import sys

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typing", "tests"]

SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13")

# The least coverage of each package, lines and branches, in per cent. A figure is raised and never lowered.
LEAST_COVERAGE = {"engine": 100, "statemachines": 100, "fedimint": 96, "gateway": 91, "api": 99}


def _offer_pyenv_versions() -> None:
    """Lets pyenv's shims start every supported Python it has, the one running first."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return
    listed = subprocess.run(
        [pyenv, "versions", "--bare", "--skip-aliases"], capture_output=True, text=True, check=True
    )
    selected = subprocess.run(
        [pyenv, "version-name"], capture_output=True, text=True, check=True
    ).stdout.strip()
    others = [
        version
        for version in listed.stdout.split()
        if version.startswith(tuple(f"{supported}." for supported in SUPPORTED_PYTHONS))
        and version not in selected.split(":")
    ]
    os.environ["PYENV_VERSION"] = ":".join([selected, *others])


def _is_present(version: str) -> bool:
    """Whether this machine has that Python; a shim of a version manager may be there without it."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return True
    interpreter = shutil.which(f"python{version}")
    if interpreter is None:
        return False
    return subprocess.run([interpreter, "-V"], capture_output=True, check=False).returncode == 0


_offer_pyenv_versions()
PYTHONS = [version for version in SUPPORTED_PYTHONS if _is_present(version)]


def _install(session: nox.Session, *extras: str) -> None:
    """Installs the project and its development tools in the versions that pyproject.toml pins."""
    session.run_install(
        "uv",
        "sync",
        "--quiet",
        *extras,
        f"--python={session.virtualenv.location}",
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and its format."""
    _install(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(python=PYTHONS[0])
def typing(session: nox.Session) -> None:
    """Types: mypy, strict."""
    _install(session)
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Every test that needs no real peer, slow ones included; each package must be covered as LEAST_COVERAGE says.

    Coverage is counted, and simulations are played, on the oldest Python alone: they say the same on each, and take
    as long as the tests.
    """
    _install(session)
    session.env["COVERAGE_FILE"] = f"{session.create_tmp()}/coverage"
    whole = ("--cov", "--cov-report=")
    shorter = ("--ignore=tests/sim", "--ignore=tests/scenarios", "--ignore=tests/crash")
    session.run(
        "pytest",
        "--numprocesses=auto",
        "-m",
        "not interop and not crash",
        *(whole if session.python == PYTHONS[0] else shorter),
        *session.posargs,
        env={"PYTHONHASHSEED": "0"},
    )
    if session.python == PYTHONS[0]:
        for package, least in LEAST_COVERAGE.items():
            session.run("coverage", "report", f"--include={package}/*", f"--fail-under={least}")


@nox.session(python=PYTHONS[0])
def sim(session: nox.Session) -> None:
    """Whole gateways simulated with faults, one a seed: `-- --seeds N --first-seed K --minutes M`."""
    _install(session)
    session.run("gatewayd", "fuzz", "sim", *session.posargs)


@nox.session(python=PYTHONS[0])
def explore(session: nox.Session) -> None:
    """Every interleaving of one payment, up to a bound: `-- --crashes N --losses N --orders N --minutes M`."""
    _install(session)
    session.run("gatewayd", "fuzz", "explore", *session.posargs)


@nox.session(python=PYTHONS[0])
def crash(session: nox.Session) -> None:
    """Disks that fail and processes that are killed, at length: 300 kills, or as many as GATEWAY_CRASH_ROUNDS says."""
    _install(session)
    rounds = os.environ.get("GATEWAY_CRASH_ROUNDS", "300")
    every = ("-m", "", *session.posargs)
    session.run("pytest", "tests/crash", *every, env={"GATEWAY_CRASH_ROUNDS": rounds})


@nox.session(python=PYTHONS[0])
def mutants(session: nox.Session) -> None:
    """Takes one rule after the other out of the gateway and looks for a simulation that notices."""
    _install(session)
    session.run("gatewayd", "fuzz", "mutants", *session.posargs)


@nox.session(python=PYTHONS[0])
def mutation(session: nox.Session) -> None:
    """A sample of one-line mutants of the rules: which of them no unit test catches. Takes hours."""
    _install(session)
    environment = f"--python={session.virtualenv.location}"
    session.run_install("uv", "pip", "install", "--quiet", environment, "mutmut==3.8.1")
    clone = f"{session.create_tmp()}/clone"
    shutil.rmtree(clone, ignore_errors=True)
    session.run("git", "clone", "--quiet", ".", clone, external=True)
    session.env["PYTHONHASHSEED"] = "0"
    tests = ("tests/statemachines", "tests/gateway", "tests/backends")
    chosen = ("-m", "not interop and not crash", "-k", "not trio", *tests)
    with session.chdir(clone):
        for task in (("generate",), ("reach", *chosen), ("units",)):
            session.run("python", "tests/mutation/measure.py", *task)


@nox.session(python=PYTHONS[0])
def wheel(session: nox.Session) -> None:
    """Builds the wheel, installs it in an environment of its own, and runs the demonstration from there."""
    dist = f"{session.create_tmp()}/dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("uv", "build", "--quiet", "--wheel", f"--out-dir={dist}", external=True)
    (built,) = pathlib.Path(dist).glob("*.whl")
    environment = f"--python={session.virtualenv.location}"
    session.run_install(
        "uv",
        "pip",
        "install",
        "--quiet",
        "--reinstall-package=fedimint-gateway",
        environment,
        str(built),
    )
    with session.chdir(session.create_tmp()):
        session.run("gatewayd", "demo")
        session.run(
            "gatewayd", "fuzz", "mutants", success_codes=[4]
        )  # needs a checkout, and says so


def _build_native_in_cache(session: nox.Session) -> None:
    """Keep what cargo has compiled in the cache folder of the peers."""
    tell_cache = "from devnet.real.peers import cache_dir; print(cache_dir())"
    cache = str(session.run("python", "-c", tell_cache, silent=True)).strip()
    session.env["CARGO_TARGET_DIR"] = f"{cache}/native"


@nox.session(python=PYTHONS[0])
def native(session: nox.Session) -> None:
    """Builds the native part into the cache folder of the peers, checks its Rust and holds it to Python's answers."""
    if shutil.which("cargo") is None:
        session.error("cargo is not on PATH; install Rust 1.85 or later first")
    _install(session)
    _build_native_in_cache(session)
    with session.chdir("native"):
        session.run("cargo", "fmt", "--all", "--check", external=True)
        # As the package is built, so that its three hundred libraries are compiled once.
        # Without the node inside, which takes ten minutes more (docs/ldk.md).
        whole = (
            "--quiet",
            "--release",
            "--workspace",
            "--exclude=fedimint-gateway-ldk",
            "--all-targets",
        )
        session.run("cargo", "clippy", *whole, "--", "-D", "warnings", external=True)
        session.run("cargo", "test", *whole, external=True)
    _install(session, "--extra=native")
    require = {"FEDIMINT_GATEWAY_REQUIRE_NATIVE": "1"}
    tests = ("tests/native", "tests/fedimint/crypto")
    session.run("pytest", *tests, *session.posargs, env=require)


@nox.session(venv_backend="none")
def peers(session: nox.Session) -> None:
    """Installs the real peers into a cache folder outside the repository; skips what is there."""
    session.run(sys.executable, "-m", "devnet.real.peers", *session.posargs)


@nox.session(python=PYTHONS[0])
def interop(session: nox.Session) -> None:
    """The gateway against the real peers; fails when one of them is not installed."""
    _install(session)
    session.run(
        "pytest", "-m", "interop", *session.posargs, env={"FEDIMINT_GATEWAY_REQUIRE_PEERS": "1"}
    )


@nox.session(python=PYTHONS[0])
def bench(session: nox.Session) -> None:
    """Speed, as ratios measured in one run; judged by a reader, not by CI."""
    _install(session)
    session.run("python", "-m", "bench", *session.posargs)
