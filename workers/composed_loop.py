"""All agents of a bot in one compiled loop: the same steps and rings as in several processes, in one.

Order of a round: feed, shards, execution, venue. Paced by event time the promises of the agents decide who may go on,
so the order of the round cannot change a result; it only decides how soon it is there.

This file is a template like the shard loop that it imports: for another strategy the import line is replaced.
"""

from bot4.adapters.sim.venue_loop import ledger_first, venue_step
from bot4.engine.execution_step import execution_step
from bot4.engine.feed import feed_step
from bot4.engine.shard_loop import shard_step
from bot4.jit import kernel

FEED_BATCH = 64  # messages read ahead of the others: few enough to stay in the cache
STEP_BATCH = 256


@kernel
def composed_step(feed, shards, execution, venue, wires, instruments, limits, session, until_ns, wait, rounds):
    """Run up to `rounds` rounds of all agents; ends early when a round did nothing or events wait for the ledger.

    Parameters
    ----------
    feed : FeedMemory
    shards : tuple of ShardMemory, one per shard
    execution : ExecutionMemory
    venue : VenueMemory
    wires, instruments, limits, session : the bot's shared memory and tables; the limits are execution's, each shard
        comes to those that were tightened at its own event time
    until_ns : event time up to which the feed may go
    wait : True if the feed waits for room instead of dropping
    rounds : bound of the batch

    Returns
    -------
    int64, items handled by all agents together
    """
    total = 0
    for _ in range(rounds):
        done = feed_step(feed, wires, instruments, session, until_ns, wait, FEED_BATCH)
        for k in range(len(shards)):
            done += shard_step(shards[k], wires, instruments, shards[k].limits, session, k, STEP_BATCH)
        done += execution_step(execution, wires, instruments, limits, session, STEP_BATCH)
        done += venue_step(venue, wires, instruments, session, STEP_BATCH)
        total += done
        if done == 0 or ledger_first(venue):
            break
    return total
