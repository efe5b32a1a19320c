"""A venue put together: symbols, accounts with their money and keys, agents, ledger and scenario."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot4.adapters.exchange.agent import AGENT_COINS_E8, AGENT_USDT_E8, AGENTS, GeneratedMarket, Profile
from bot4.adapters.exchange.commission import FeeToken, Rates, Tier
from bot4.adapters.exchange.front import Front
from bot4.adapters.exchange.key import Key, new_key
from bot4.adapters.exchange.ledger import Ledger
from bot4.adapters.exchange.owner import Owner
from bot4.adapters.exchange.protocol import BINANCE, VenueProtocol
from bot4.adapters.exchange.recorded import BOOK_MONEY_E8, RecordedMarket, Recording
from bot4.adapters.exchange.scenario import Scenario
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue


@dataclass(slots=True)
class Assembly:
    """Everything but the connections."""

    gateway: Front
    keys: list[Key]
    owners: list[Owner]
    market: GeneratedMarket | RecordedMarket | None
    protocol: VenueProtocol

    def recording(self) -> dict[str, dict[str, int | bool]] | None:
        """Of a recorded market by symbol: where it stands, and how often a part of it was left out."""
        if not isinstance(self.market, RecordedMarket):
            return None
        return {
            name: {"at_ns": one.last_ns, "left_out": one.left_out, "has_ended": one.has_ended}
            for name, one in self.market.symbols.items()
        }


def assemble(
    owners: list[Owner],
    scenario: Scenario,
    ledger: Ledger,
    now_ns: Callable[[], int],
    market_seed: int | None,
    speed: float = 1.0,
    keys: list[Key] | None = None,
    symbols: list[Symbol] | None = None,
    protocol: VenueProtocol = BINANCE,
    token: FeeToken | None = None,
    recording: Recording | None = None,
    profiles: Mapping[str, Profile] | None = None,
) -> Assembly:
    """A venue that is ready to be asked.

    Parameters
    ----------
    owners : the accounts; each gets a key of its own
    market_seed : of the generated market, None: nobody trades but those who come
    ledger : open and empty; the venue writes and closes it
    keys : in place of fresh ones, for those who want the same bytes twice
    token : what fees may be paid in too
    recording : in place of a generated market; its symbols are those of the venue
    profiles : of symbols whose agents are not as usual
    """
    chosen = recording.symbols if recording else protocol.symbols() if symbols is None else symbols
    accounts = [
        Account(index, owner.name, scenario.limits, Rates(owner.tiers, owner.pays_token), is_agent=False)
        for index, owner in enumerate(owners)
    ]
    for account, owner in zip(accounts, owners, strict=True):
        account.key_faults = owner.key_faults
    balances = [owner.balances for owner in owners]
    agents = []
    free = Rates((Tier(0, 0, 0),))
    assets = {asset for symbol in chosen for asset in (symbol.base, symbol.quote)}
    if recording is not None:
        agents.append(Account(len(accounts), "market-0", scenario.limits, free, is_agent=True))
        accounts.append(agents[-1])
        balances.append(dict.fromkeys(sorted(assets), BOOK_MONEY_E8))
    elif market_seed is not None:
        money = {symbol.base: AGENT_COINS_E8 for symbol in chosen} | {symbol.quote: AGENT_USDT_E8 for symbol in chosen}
        for number in range(AGENTS):
            agents.append(Account(len(accounts), f"market-{number}", scenario.limits, free, is_agent=True))
            accounts.append(agents[-1])
            balances.append(money)
    venue = Venue(chosen, accounts, balances, scenario.limits, ledger, now_ns, scenario.seed, token)
    venue.words = protocol.words(venue)
    venue.client_ids_once = scenario.client_ids_once
    made = [new_key(index) for index in range(len(owners))] if keys is None else keys
    gateway = protocol.gateway(venue, made, scenario)
    gateway.check_scenario()
    market: GeneratedMarket | RecordedMarket | None = None
    if recording is not None:
        market = RecordedMarket(venue, agents[0], recording, speed)
    elif market_seed is not None:
        market = GeneratedMarket(venue, agents, market_seed, speed, scenario.impacts, profiles)
    return Assembly(gateway, made, owners, market, protocol)
