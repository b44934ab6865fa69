"""Maturin, which without cargo would download a whole Rust toolchain unasked; here it says what to install."""

import os
import shutil
import sys

os.environ["MATURIN_NO_INSTALL_RUST"] = "1"  # maturin reads it whenever it is asked something

if shutil.which("cargo") is None:
    sys.exit("fedimint-gateway-native needs Rust 1.85 or later: cargo is not on PATH")

from maturin import *  # noqa: F403 - the hooks of PEP 517
