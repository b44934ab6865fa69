"""How far the gateway trusts a federation when it pays, and what it reports about that.

The guardians' word is all that says that a contract is there and can be claimed. So what is at stake in one federation
is bounded (`statemachines/exposure.py`), and nothing more is paid out of one that refused a claim until the operator
says so.
"""

from collections.abc import Iterator

from gateway.context import GatewayContext
from gateway.views import ExposureInfo
from statemachines import exposure
from statemachines.federation import FRUITLESS_MAX, Joined
from statemachines.send import SendFacts

#: From this share of the cap on the operator is told, in percent: larger payments may be refunded already.
NEARLY_FULL_PERCENT = 90


def distrust(context: GatewayContext, facts: SendFacts, *, is_new: bool) -> str | None:
    """Why no call for this payment may leave now, by the log as it is decided at this moment; None when it may.

    A payment that is not new is at stake already: only a claim that was refused since is a reason against it.
    """
    terms = context.terms(facts.federation_id)
    if terms is None:
        return "the gateway no longer serves the sender's federation"
    if not is_new:
        return exposure.distrust(terms.trust, 0, 0)
    return exposure.distrust(
        terms.trust, exposure_msat(context, facts.federation_id), facts.contract_msat
    )


def exposures(context: GatewayContext) -> tuple[ExposureInfo, ...]:
    """What is at stake in each federation that is served, in their order, and how much may be."""
    found = ((one.federation_id, context.terms(one.federation_id)) for one in context.federations)
    return tuple(_exposure(context, one, terms) for one, terms in found if terms is not None)


def _exposure(context: GatewayContext, federation_id: str, terms: Joined) -> ExposureInfo:
    refused = terms.trust.refused_claim
    return ExposureInfo(
        federation_id=federation_id,
        exposure_msat=exposure_msat(context, federation_id),
        cap_msat=exposure.cap_msat(terms.trust),
        cap_is_default=terms.trust.cap_msat is None,
        refused_claim=None if refused is None else refused.stream,
    )


def problems(context: GatewayContext) -> Iterator[str | None]:
    """What the operator should do about each federation; None for one that is as it should be."""
    names = {one.federation_id: one.config.federation_name() for one in context.federations}
    for at in exposures(context):
        yield _problem(names[at.federation_id], at)
        yield _fruitless(context, names[at.federation_id], at.federation_id)


def _fruitless(context: GatewayContext, name: str | None, federation_id: str) -> str | None:
    terms = context.terms(federation_id)
    count = terms.fruitless(context.now_unix_s()) if terms is not None else 0
    if not count:
        return None
    stopped = "; nothing is received for it until that is over" * (count >= FRUITLESS_MAX)
    return (
        f"{count} receivers of {name or 'a federation'} ({federation_id}) had contracts without a preimage within the "
        f"last hour, each at the cost of a funding and a refund{stopped}"
    )


def _problem(name: str | None, at: ExposureInfo) -> str | None:
    known_as = f"{name or 'a federation'} ({at.federation_id})"
    if at.refused_claim is not None:
        return (
            f"{known_as} refused the claim of {at.refused_claim}: payments out of it are refunded; ask its guardians "
            "why, then run `gateway-cli cfg trust-again --federation-id …`, or leave it"
        )
    if at.exposure_msat * 100 >= at.cap_msat * NEARLY_FULL_PERCENT:
        return (
            f"{at.exposure_msat // 1000} of at most {at.cap_msat // 1000} sat are at stake in {known_as}: payments out "
            "of it that would exceed this are refunded; withdraw with `gateway-cli ecash pegout`, or raise it with "
            "`gateway-cli cfg set-exposure-cap`"
        )
    return None


def exposure_msat(context: GatewayContext, federation_id: str) -> int:
    """What is at stake in a federation at this moment."""
    return exposure.exposure_msat(context.engine.open_streams().values(), federation_id)
