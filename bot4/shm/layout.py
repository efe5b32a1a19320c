"""Where every byte of shared memory lies; no other file of this room holds an offset.

Every segment begins with a header of 16 words; a ring begins with 64 words and goes on with its slots:

    word   0 magic   1 words per slot   2 capacity (power of two)      constant after creation
    word  16 head   17 cached tail   18 dropped                        written by the producer alone
    word  32 tail                                                      written by the consumer alone
    word  64 slot 0 | slot 1 | ... | slot capacity-1                   payload words, sequence in the last one

Lines that different cores write are 128 bytes apart (two cache lines: the prefetcher fetches pairs).
"""

# --- segment header (words) --------------------------------------------------------------------------------------
SEGMENT_MAGIC = 0x3454_4F42_5345_4731  # "1GESBOT4", little endian
SEGMENT_HEADER_WORDS = 16
SEGMENT_MAGIC_WORD = 0
SEGMENT_LAYOUT_WORD = 1  # hash of this file and the records
SEGMENT_SIZE_WORD = 2  # payload words
SEGMENT_GENERATION_WORD = 3
SEGMENT_OWNER_PID_WORD = 4
SEGMENT_OWNER_START_WORD = 5  # start time of the owner, clock ticks since boot: tells a reused pid

# --- ring (words) --------------------------------------------------------------------------------------------------
RING_MAGIC = 0x474E_4952  # "RING"
RING_MAGIC_WORD = 0
RING_WIDTH_WORD = 1
RING_CAPACITY_WORD = 2
RING_HEAD = 16
RING_CACHED_TAIL = 17
RING_DROPPED = 18
RING_TAIL = 32
RING_SLOTS = 64

# --- ring of many producers and many consumers (words): the same shape, other rules -------------------------------
MANY_MAGIC = 0x594E_414D  # "MANY"
MANY_HEAD = 16  # whoever claims a slot moves it
MANY_TAIL = 32  # whoever takes a record moves it
MANY_BURIED = 48  # records that died with their producer or their consumer; written by whoever buries

# --- seqlock slot (words) -----------------------------------------------------------------------------------------
SEQLOCK_VERSION = 0  # odd while the writer is at work, 0 before its first copy
SEQLOCK_PAYLOAD = 1

# --- payload of the calibration's slot (words): three clocks read at one moment, and how fast the first one counts ----
CALIBRATION_TSC = 0
CALIBRATION_MONOTONIC_NS = 1
CALIBRATION_WALL_NS = 2
CALIBRATION_TSC_HZ = 3
CALIBRATION_WORDS = 4

# --- clocks (words, one line each): promises of conservative synchronisation ------------------------------------------
LINE = 16
CLOCK_FEED = 0 * LINE  # the feed sends nothing earlier than this any more
CLOCK_EXEC_VENUE = 1 * LINE  # requests that no venue event causes arrive no earlier
CLOCK_EXEC_SHARD = 2 * LINE  # reports arrive at a shard no earlier
CLOCK_VENUE = 3 * LINE  # events that no request causes are delivered no earlier
CLOCK_SHARD = 4 * LINE  # + k * LINE: shard k decides nothing at an earlier event time

# --- control (words, one line each) -----------------------------------------------------------------------------------
CONTROL_KILL = 0 * LINE  # not 0: killed; anybody sets, nobody but a person clears
KILLED_BY_REPEATS = 2  # its value when execution has set it for that; else 1
KILLED_BY_DRAWDOWN = 3
KILLED_BY_DAILY_LOSS = 4
CONTROL_STOP = 1 * LINE  # not 0: finish the batch and leave
CONTROL_FEED_DONE = 2 * LINE  # 1: the feed has sent its last tick
CONTROL_SNAPSHOT = 3 * LINE  # + k * LINE: shard k asks for a snapshot of its books; counts up
CONTROL_RESYNC = 67 * LINE  # + k * LINE: shard k asks execution for positions and open orders; counts up
MAX_SHARDS = 64
CONTROL_SNAPSHOT_VENUE = 131 * LINE  # the venue asks for a snapshot of all books; counts up
CONTROL_STOP_RECORDER = 132 * LINE  # not 0: all others have left; write what is there and leave
CONTROL_NO_RECORDER = 133 * LINE  # not 0: nobody takes what is recorded, so nobody waits for room there
CONTROL_SUPERVISOR = 134 * LINE  # monotonic ns at which the supervisor was last there; 0: nobody watches
CONTROL_ALONE = 135 * LINE  # not 0: the supervisor has not been there for too long, nothing is opened; execution's own
CONTROL_WORDS = 136 * LINE
CLOCK_WORDS = (4 + MAX_SHARDS) * LINE


def ring_words(capacity: int, width: int) -> int:
    """Words that a ring of `capacity` slots of `width` words takes."""
    return RING_SLOTS + capacity * width
