"""The payments of the real history: real guardian, Lightning nodes and client; two sends and one forfeit."""

import shutil
import tempfile
from pathlib import Path

from devnet.fedimint_cli import FedimintCli, SendOutcome
from devnet.gatewayd import OurGatewayd
from devnet.joined import JoinedFederation
from devnet.real_world import RealWorld, real_world
from tests.interop.invoices import stranger_invoice
from tests.interop.parties import serve

_DEPOSIT_SAT = 1_000_000
_AMOUNT_MSAT = 1_234_567


async def play(directory: Path) -> None:
    """Leave the gateway's data directory at `directory`."""
    with tempfile.TemporaryDirectory() as folder:
        async with real_world(Path(folder)) as world:
            gateway = OurGatewayd(Path(folder) / "gateway", world.alice)
            await gateway.start()
            try:
                await _pay(world, gateway)
            finally:
                await gateway.program.stop()
            shutil.copytree(gateway.data_dir, directory)


async def _pay(world: RealWorld, gateway: OurGatewayd) -> None:
    federation = await world.start_federation("solo", guardians=1)
    user: FedimintCli = world.new_user()
    await user.join(federation.invite_code)
    await user.peg_in(_DEPOSIT_SAT)
    joined = await JoinedFederation.join(federation.invite_code)
    try:
        served = await serve(gateway, joined, federation.invite_code)
        for outcome in (SendOutcome.SUCCESS, SendOutcome.REFUNDED, SendOutcome.SUCCESS):
            invoice = (
                stranger_invoice(_AMOUNT_MSAT)
                if outcome is SendOutcome.REFUNDED
                else (await world.bob.add_invoice(_AMOUNT_MSAT)).payment_request
            )
            done = await user.pay(invoice, gateway_url=gateway.url)
            assert done.outcome is outcome
            await served.settled()
            await user.settle()
    finally:
        await joined.aclose()
