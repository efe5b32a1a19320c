// Twin of the shard step, bot4/engine/shard_loop.py `step_batch` with all that it calls: the same records in the same
// layout, the same operations in the same order, everything inlined. What differs is the language: `/` where Python
// floors (no operand there is negative), and a compiler that knows that records of different types do not overlap.
//
//   step INSTRUMENTS TICKS WARM BATCH
//
//   stdin    INSTRUMENT[INSTRUMENTS], LIMITS, SESSION, PARAMS, TICK[TICKS], of which the first WARM are not measured
//   stdout   (TICKS - WARM) / BATCH + 1 stamps (cycles). If BATCH is 0 no time is taken: every intent after the warm-up
//            (ORDER_INTENT), then SHARD_STATE, VIEW, RISK_VIEW and the strategy's STATE of all instruments, so that a
//            test can compare them with Python's

#pragma GCC optimize("fp-contract=off")  // as in Python: each product is rounded, so that both decide alike to the bit

#include <sys/mman.h>
#include <x86intrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

using Word = std::int64_t;

// --- bot4/model/enums.py ---------------------------------------------------------------------------------------------

constexpr Word TRADE = 1, QUOTE = 2, LEVEL = 3, MARK = 4, FUNDING = 5, STATUS = 6;
constexpr Word LAST = 1, SNAPSHOT = 2, BOOK_NEWER = 4, QUOTE_NEWER = 8;
constexpr Word WHOLE = 1, CLEAR = 2;
constexpr int PLACE = 1, CANCEL = 2, MARKET = 1, LIMIT = 2, GTC = 1, IOC = 2;
constexpr int REDUCE_ONLY = 1, POST_ONLY = 2, ENTRY = 0, EXIT = 1, FLATTEN = 3;
constexpr int NOTHING = 0, INTENT = -1, CANCEL_INTENT = -2;
constexpr Word MAX_PRICE = (Word{1} << 40) - 1, MAX_QTY = (Word{1} << 40) - 1, MAX_MONEY = Word{1} << 61;
constexpr Word COMMON_MONEY = Word{1} << 50, COMMON_BPS = 1 << 12, COMMON_WORTH = Word{1} << 42, COMMON_VALUE = 1 << 20;
constexpr Word MAX_BPS = 1'000'000, SMALL = Word{1} << 31, CANCEL_RETRY_NS = 1'000'000'000;
constexpr Word DAY_NS = 86'400'000'000'000;
constexpr Word MOST_TICKS = (Word{1} << 31) - 1;
constexpr std::int32_t SIZED_BY_FRACTION = 0;  // the bench's strategy sizes by nothing else

enum Code : int {
    OK = 0, DATA_GAP = 101, DATA_CROSSED = 102, DATA_STALE = 103, DATA_BAD_VALUE = 104, DATA_TIME_BACK = 105,
    DATA_BAD_KIND = 106, WARMING = 201, NO_QUOTE = 202, GATE_SHUT = 203, BAD_SCORE = 204, KILLED = 301,
    BREAKER_OPEN = 302, POSITION = 303, NOTIONAL = 304, ORDER_SIZE = 305, COLLAR = 306, DRAWDOWN = 307,
    DAILY_LOSS = 308, STOP_MISSING = 309, STOP_SIDE = 310, OPEN_ORDERS = 311, COOL_DOWN = 312, RATE = 313,
    SIZE_ZERO = 314, NO_EQUITY = 315, SHORT_SPOT = 316, BAD_ORDER = 317, MIN_NOTIONAL = 318, GROSS = 319,
    NET = 320, VENUE = 321, STREAK = 322, CORRELATION = 323, SHARD_RATE = 324, ORDER_RATE = 325, MESSAGE_RATE = 326,
    REPEAT = 327, STOP_FAR = 328, STOP_LOSS = 329, SELF_TRADE = 330, STRATEGY = 331, NOTHING_TO_REDUCE = 332,
    EXEC_NO_QUOTE = 409,
};

// --- records ---------------------------------------------------------------------------------------------------------

struct Tick {
    Word ts_recv_ns;
    std::int32_t venue_lag_us;
    std::uint16_t instrument;
    std::uint8_t kind, flags;
    Word w0, w1, w2, w3;
    std::uint32_t event_no, tsc_low;
    std::uint64_t seq;
};
static_assert(sizeof(Tick) == 64);

struct alignas(64) Intent {
    Word ts_ns, id_hi, id_lo, price_ticks, qty_lots, stop_ticks, ref_ticks;
    std::uint16_t instrument, strategy, shard;
    std::uint8_t action;
    std::int8_t side;
    std::uint8_t type, tif, flags, leg;
    std::uint32_t event_no;
    std::int32_t order_row;
    std::uint8_t sized_by, slices;
    std::uint16_t slice_ds;
    Word tsc, aux;
    double score;
    Word tsc_read;
    std::int32_t trail_ticks, even_ticks;
    Word seq;
};
static_assert(sizeof(Intent) == 128);

struct Instrument {
    std::uint16_t index, shard;
    std::uint8_t is_spot, price_decimals, qty_decimals, step_decimals;
    Word tick_e8, lot_e8, value_e8, min_notional_e8, min_qty_lots, max_qty_lots, maker_fee_ppm, taker_fee_ppm,
        venue;
};
static_assert(sizeof(Instrument) == 80);

struct Limits {
    Word position_bps, order_notional_e8, order_lots, collar_bps, drawdown_bps, daily_loss_bps, open_orders,
        cool_down_ns, bucket_tokens, bucket_refill_ns, stop_confirm_ns, quote_age_ns, breaker_failures,
        breaker_window_ns, breaker_open_ns, day_offset_ns, gross_bps, net_bps, venue_bps, streak_losses,
        streak_pause_ns, capital_e8, correlation_bps, correlation_decay_ppb, shard_tokens, shard_refill_ns,
        order_tokens, order_refill_ns, message_tokens, message_refill_ns, repeat_orders, repeat_pause_ns, stop_bps,
        stop_loss_bps, slippage_bps, var_bps, shortfall_bps, var_confidence_bps, var_horizon_s, strategy_bps,
        kill_daily_loss_bps, kill_drawdown_bps;
};
static_assert(sizeof(Limits) == 336);

struct Session {
    Word paced, order_latency_ns, report_latency_ns, internal_latency_ns, totals_grid_ns, start_equity_e8, account,
        strategy, feed_generation, n_shards, n_instruments, measure, lag_limit_ns, high_water_e8, day,
        day_start_e8, streak, streak_until_ns, day_shut_until_ns, asks_first, stake_e8;
};
static_assert(sizeof(Session) == 168);

struct Params {
    Word bar_ns, bar_kind, bar_size;
    double enter_threshold, exit_threshold;
    Word min_hold_ns, max_hold_ns, position_fraction_bps, sizing;
    double sizing_budget_bps;
    Word atr_period;
    double stop_atr_multiple, stop_min_bps;
    Word stop_trails;
    double even_atr_multiple, profit_atr_multiple;
    Word slippage_ticks, entry_style, entry_life_ns, entry_slices, slice_ms, imbalance_levels;
    Word fast_period, slow_period, signal_period, rsi_period, band_period;
    double trend_weight, macd_weight, rsi_weight, band_weight, imbalance_weight;
};
static_assert(sizeof(Params) == 256);

struct RiskView {
    Word position_lots, pending_buy_lots, pending_sell_lots, open_orders, bid_ticks, ask_ticks, quote_ts_ns, equity_e8,
        high_water_e8, day_start_e8, last_open_ns, bucket_ns;
    int32_t killed, breaker_open;
    Word stale;
    int32_t streak, day_shut;
    Word others_gross_e8, others_long_e8, others_short_e8, others_venue_e8, correlation_bps, shard_bucket_ns,
        order_bucket_ns, message_bucket_ns, run, run_ns, value_at_risk_e8, shortfall_e8, exit_buy_lots, exit_sell_lots,
        own_bid_ticks, own_ask_ticks, own_stop_ticks;
};
static_assert(sizeof(RiskView) == 256);

struct View {
    Word ts_ns, bid_ticks, ask_ticks, bid_lots, ask_lots;
    double mid, microprice, imbalance;
    Word position_lots, bars;
    double open, high, low, close, volume, atr, vwap;
    Word trade_ticks, trade_lots, trade_side, fill_ticks, fill_lots, fill_side, fill_leg;
    double buy_volume, turnover;
    Word bar_trades, bar_begin_ns, bar_end_ns;
    std::uint8_t pad[24];
};
static_assert(sizeof(View) == 256);

struct Status {
    Word execution_gate, resyncing, snapshot_wanted, lagging, reserved[4];
};
static_assert(sizeof(Status) == 64);

// --- indicators ------------------------------------------------------------------------------------------------------

enum { BAR_TIME, BAR_TICK, BAR_VOLUME, BAR_DOLLAR };

struct Bar {
    static constexpr Word MOST = (Word{1} << 62) - 1, NEVER = std::numeric_limits<Word>::max();

    double open, high, low, close;
    Word volume, buy_volume, turnover, trades, begin_ns, end_ns, closed;

    void init() { trades = end_ns = closed = 0; }
    bool is_over(Word ts_ns) const { return trades > 0 && ts_ns >= end_ns; }
    void end() {
        trades = 0;
        ++closed;
    }
    static Word size_of(Word kind, Word bar_ns, Word size, Word value_e8) {
        if (kind == BAR_TIME) return bar_ns;
        return kind == BAR_DOLLAR && value_e8 > 1 ? (size - 1) / value_e8 + 1 : size;
    }
    bool add(Word ts_ns, Word price_ticks, Word qty_lots, Word side, Word kind, Word size) {
        const double price = static_cast<double>(price_ticks);
        if (trades == 0) {
            open = high = low = price;
            volume = buy_volume = turnover = 0;
            const bool spans = kind == BAR_TIME && size > 0;
            begin_ns = spans ? ts_ns - ts_ns % size : ts_ns;
            end_ns = spans ? begin_ns + size : NEVER;
        }
        high = std::max(high, price);
        low = std::min(low, price);
        close = price;
        const bool fits = price * static_cast<double>(qty_lots) <= static_cast<double>(MOST);
        turnover = std::min(turnover + (fits ? std::min(price_ticks * qty_lots, MOST) : MOST), MOST);
        volume = std::min(volume + qty_lots, MOST);
        if (side > 0) buy_volume = std::min(buy_volume + qty_lots, MOST);
        ++trades;
        const bool full = kind == BAR_TIME     ? size == 0
                          : kind == BAR_TICK   ? trades >= size
                          : kind == BAR_VOLUME ? volume >= size
                                               : turnover >= size;
        if (full) end_ns = ts_ns;
        return full;
    }
};

struct Atr {
    double value, last_close;
    Word period, count;

    void init(Word n) {
        value = last_close = 0;
        period = n;
        count = 0;
    }
    double update(double high, double low, double close) {
        const Word before = count++;
        if (before > 0) {
            const double distance = std::max(high, last_close) - std::min(low, last_close);
            value += (distance - value) / static_cast<double>(std::min(before, period));
        }
        last_close = close;
        return value;
    }
    bool ready() const { return count > period; }
};

struct Vwap {
    double value, weighted, volume;
    Word anchor_ticks, day;

    void init() {
        value = weighted = volume = 0;
        anchor_ticks = 0;
        day = -1;
    }
    double update(Word ts_ns, Word price_ticks, Word qty_lots) {
        const Word today = ts_ns / DAY_NS;
        if (today != day) {
            day = today;
            weighted = volume = 0;
            anchor_ticks = price_ticks;
        }
        weighted += static_cast<double>(price_ticks - anchor_ticks) * static_cast<double>(qty_lots);
        volume += static_cast<double>(qty_lots);
        value = static_cast<double>(anchor_ticks) + weighted / volume;
        return value;
    }
};

struct Ema {
    double value, alpha;
    Word period, count;

    void init(Word n) {
        value = 0;
        alpha = 2.0 / (static_cast<double>(n) + 1.0);
        period = n;
        count = 0;
    }
    double update(double x) {
        ++count;
        if (count <= period)
            value += (x - value) / static_cast<double>(count);
        else
            value += (x - value) * alpha;
        return value;
    }
    bool ready() const { return count >= period; }
};

struct Rsi {
    double value, gain, loss, last;
    Word period, count;

    void init(Word n) {
        value = gain = loss = last = 0;
        period = n;
        count = 0;
    }
    double update(double x) {
        const Word before = count++;
        const double change = x - last;
        last = x;
        if (before == 0) return value;
        const double weight = 1.0 / static_cast<double>(std::min(before, period));
        gain += (std::max(change, 0.0) - gain) * weight;
        loss += (std::max(-change, 0.0) - loss) * weight;
        const double total = gain + loss;
        value = total > 0 ? std::min(100.0 * gain / total, 100.0) : 0.0;
        return value;
    }
    bool ready() const { return count > period; }
};

struct Macd {
    Ema fast, slow, signal;
    Word skip;
    double macd, histogram;

    void init(Word n_fast, Word n_slow, Word n_signal) {
        fast.init(n_fast);
        slow.init(n_slow);
        signal.init(n_signal);
        skip = n_slow - n_fast;
        macd = histogram = 0;
    }
    double update(double x) {
        slow.update(x);
        if (skip > 0) {
            --skip;
            return 0;
        }
        fast.update(x);
        if (!slow.ready()) return 0;
        const double difference = fast.value - slow.value;
        macd = difference;
        histogram = difference - signal.update(difference);
        return histogram;
    }
};

struct Bollinger {
    static constexpr Word MOST = 64;
    double mean, deviation, squares;
    Word period, count, position;
    double window[MOST];

    void init(Word n) {
        mean = deviation = squares = 0;
        period = std::max<Word>(1, std::min(n, MOST));
        count = position = 0;
    }
    void sum_afresh(Word filled) {
        double total = 0;
        for (Word i = 0; i < filled; ++i) total += window[i];
        const double middle = total / static_cast<double>(filled);
        double sum = 0;
        for (Word i = 0; i < filled; ++i) sum += (window[i] - middle) * (window[i] - middle);
        mean = middle;
        squares = sum;
    }
    void update(double x) {
        const double old = window[position];
        window[position] = x;
        const Word next = position + 1;
        const bool full = count >= period;
        if (!full) ++count;
        const double filled = static_cast<double>(count);
        if (next == period) {
            position = 0;
            sum_afresh(count);
        } else {
            position = next;
            const double before = mean;
            if (full) {
                mean = before + (x - old) / filled;
                squares += (x - old) * (x - mean + old - before);
            } else {
                mean = before + (x - before) / filled;
                squares += (x - before) * (x - mean);
            }
        }
        deviation = std::sqrt(std::max(squares, 0.0) / filled);
    }
    double score(double x) const { return deviation <= 0 ? 0.0 : (x - mean) / deviation; }
    bool ready() const { return count >= period; }
};

struct State {
    Word next_event_no, last_ts_ns, synced, order_active, pause_until_ns, entry_ns;
    double last_score;
    Word cancel_sent_ns, order_hi, order_lo, order_leg, order_side, order_leaves, order_sent_ns, mark_e8, blind;
    Bar bar;
    Atr atr;
    Vwap vwap;
    Word trips, wins, won_ppb, lost_ppb, trip_cash_tl, trip_cost_tl, trip_fees_e8;  // no position here: they stay
    std::uint8_t pad[40];
};
static_assert(sizeof(State) == 384);

// --- bot4/strategies/trend.py ----------------------------------------------------------------------------------------

static double squash(double x) { return x / (1.0 + std::fabs(x)); }

struct Strategy {
    Word warm;
    double bar_score;
    Word fills;
    Ema fast, slow;
    Rsi rsi;
    Macd macd;
    Bollinger band;

    void init(const Params& params) {
        fast.init(params.fast_period);
        slow.init(params.slow_period);
        rsi.init(params.rsi_period);
        macd.init(params.fast_period, params.slow_period, params.signal_period);
        band.init(params.band_period);
    }
    void on_bar(const Params& params, const View& view) {
        const double close = view.close;
        const double quick = fast.update(close), lazy = slow.update(close);
        const double histogram = macd.update(close);
        const double strength = rsi.update(close);
        band.update(close);
        const double unit = view.atr > 0 ? view.atr : 1.0;
        bar_score = params.trend_weight * squash((quick - lazy) / unit) +
                    params.macd_weight * squash(histogram / unit) + params.rsi_weight * (strength - 50.0) / 50.0 +
                    params.band_weight * squash(band.score(close));
        if (slow.ready() && macd.signal.ready() && rsi.ready() && band.ready()) warm = 1;
    }
    double on_tick(const Params& params, const View& view) const {
        const double score = bar_score + params.imbalance_weight * view.imbalance;
        return std::max(std::min(score, 1.0), -1.0);
    }
};
static_assert(sizeof(Strategy) == 816);

// --- bot4/kernels/book.py --------------------------------------------------------------------------------------------

struct Level {
    Word price, lots;
};

struct Book {
    static constexpr Word LEVELS = 4'096, BLOCK = 64, HALF = 32, PACKED = 48, BLOCKS = 192;
    Word whole, dropped, quote_bid, quote_bid_lots, quote_ask, quote_ask_lots, quote_newer, quote_ts_ns;
    Word count[2], blocks[2], taken[2], spare[2];
    Word order[2][BLOCKS], fill[2][BLOCKS], spares[2][BLOCKS];
    Word keys[2][BLOCKS * BLOCK], lots[2][BLOCKS * BLOCK], scratch[2][LEVELS];

    void clear() {
        for (int row = 0; row < 2; ++row) count[row] = blocks[row] = taken[row] = spare[row] = 0;
        whole = quote_newer = quote_bid = quote_bid_lots = quote_ask = quote_ask_lots = 0;
    }

    Word take_block(int row, Word at) {
        Word block;
        if (spare[row] > 0)
            block = spares[row][--spare[row]];
        else if (taken[row] < BLOCKS)
            block = taken[row]++;
        else
            return -1;
        std::copy_backward(order[row] + at, order[row] + blocks[row], order[row] + blocks[row] + 1);
        order[row][at] = block;
        ++blocks[row];
        fill[row][block] = 0;
        return block;
    }

    void pack(int row) {
        Word total = 0;
        for (Word at = 0; at < blocks[row]; ++at) {
            const Word base = order[row][at] * BLOCK, size = fill[row][order[row][at]];
            std::copy_n(keys[row] + base, size, scratch[0] + total);
            std::copy_n(lots[row] + base, size, scratch[1] + total);
            total += size;
        }
        blocks[row] = taken[row] = spare[row] = 0;
        for (Word done = 0; done < total;) {
            const Word block = take_block(row, blocks[row]), size = std::min(PACKED, total - done);
            std::copy_n(scratch[0] + done, size, keys[row] + block * BLOCK);
            std::copy_n(scratch[1] + done, size, lots[row] + block * BLOCK);
            fill[row][block] = size;
            done += size;
        }
    }

    Word position_of(int row, Word key) const {
        Word low = 0, high = blocks[row] - 1;
        while (low < high) {
            const Word middle = (low + high + 1) >> 1;
            if (keys[row][order[row][middle] * BLOCK] <= key)
                low = middle;
            else
                high = middle - 1;
        }
        return low;
    }

    Word slot_of(int row, Word base, Word size, Word key) const {
        Word low = 0, high = size;
        while (low < high) {
            const Word middle = (low + high) >> 1;
            if (keys[row][base + middle] < key)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

    void remove(int row, Word at, Word index) {
        const Word block = order[row][at], from = block * BLOCK + index, size = fill[row][block] - 1;
        std::copy_n(keys[row] + from + 1, size - index, keys[row] + from);
        std::copy_n(lots[row] + from + 1, size - index, lots[row] + from);
        fill[row][block] = size;
        --count[row];
        if (size == 0) {
            std::copy(order[row] + at + 1, order[row] + blocks[row], order[row] + at);
            --blocks[row];
            spares[row][spare[row]++] = block;
        }
    }

    bool split(int row, Word at) {
        const Word block = order[row][at], fresh = take_block(row, at + 1);
        if (fresh < 0) return false;
        std::copy_n(keys[row] + block * BLOCK + HALF, HALF, keys[row] + fresh * BLOCK);
        std::copy_n(lots[row] + block * BLOCK + HALF, HALF, lots[row] + fresh * BLOCK);
        fill[row][block] = fill[row][fresh] = HALF;
        return true;
    }

    void insert(int row, Word key, Word qty_lots) {
        if (blocks[row] == 0) take_block(row, 0);
        Word at = position_of(row, key);
        if (fill[row][order[row][at]] == BLOCK) {
            if (!split(row, at)) pack(row);
            at = position_of(row, key);
        }
        const Word block = order[row][at], base = block * BLOCK, size = fill[row][block];
        const Word slot = base + slot_of(row, base, size, key);
        std::copy_backward(keys[row] + slot, keys[row] + base + size, keys[row] + base + size + 1);
        std::copy_backward(lots[row] + slot, lots[row] + base + size, lots[row] + base + size + 1);
        keys[row][slot] = key;
        lots[row][slot] = qty_lots;
        fill[row][block] = size + 1;
        ++count[row];
    }

    void set(Word side, Word price_ticks, Word qty_lots) {
        const int row = side > 0 ? 0 : 1;
        const Word key = side * price_ticks;
        if (count[row] > 0) {
            const Word at = position_of(row, key), block = order[row][at], base = block * BLOCK;
            const Word size = fill[row][block], index = slot_of(row, base, size, key);
            if (index < size && keys[row][base + index] == key) {
                if (qty_lots > 0)
                    lots[row][base + index] = qty_lots;
                else
                    remove(row, at, index);
                return;
            }
        }
        if (qty_lots <= 0) return;
        if (count[row] == LEVELS) {
            ++dropped;
            if (key < keys[row][order[row][0] * BLOCK]) return;
            remove(row, 0, 0);
        }
        insert(row, key, qty_lots);
    }

    Level level(Word side, Word i) const {
        const int row = side > 0 ? 0 : 1;
        if (i < 0 || i >= count[row]) return {0, 0};
        Word at = blocks[row] - 1, block = order[row][at], size = fill[row][block];
        while (i >= size) {
            i -= size;
            block = order[row][--at];
            size = fill[row][block];
        }
        const Word slot = block * BLOCK + size - 1 - i;
        return {side * keys[row][slot], lots[row][slot]};
    }

    Word levels_beyond_quote(Word side) const {
        const Word quote = side > 0 ? quote_bid : quote_ask, most = count[side > 0 ? 0 : 1];
        Word skipped = 0;
        while (skipped < most && side * (level(side, skipped).price - quote) >= 0) ++skipped;
        return skipped;
    }

    Word top_bid() const { return quote_newer ? quote_bid : level(1, 0).price; }
    Word top_ask() const { return quote_newer ? quote_ask : level(-1, 0).price; }
    Word top_bid_lots() const { return quote_newer ? quote_bid_lots : level(1, 0).lots; }
    Word top_ask_lots() const { return quote_newer ? quote_ask_lots : level(-1, 0).lots; }

    void apply(const Tick& tick) {
        if (tick.kind == LEVEL) {
            set(tick.w2, tick.w0, tick.w1);
            if (tick.flags & LAST && !(tick.flags & QUOTE_NEWER)) quote_newer = 0;
        } else if (tick.kind == QUOTE) {
            quote_bid = tick.w0;
            quote_bid_lots = tick.w1;
            quote_ask = tick.w2;
            quote_ask_lots = tick.w3;
            quote_ts_ns = tick.ts_recv_ns;
            quote_newer = tick.flags & BOOK_NEWER ? 0 : 1;
        } else if (tick.kind == STATUS) {
            if (tick.w0 == CLEAR)
                clear();
            else
                whole = tick.w0 == WHOLE;
        }
    }

    double imbalance(Word depth) const {
        Word bids = 0, asks = 0, skip_bids = 0, skip_asks = 0, first = 0;
        if (quote_newer) {
            bids = quote_bid_lots;
            asks = quote_ask_lots;
            skip_bids = levels_beyond_quote(1);
            skip_asks = levels_beyond_quote(-1);
            first = 1;
        }
        for (Word i = first; i < depth; ++i) {
            bids += level(1, skip_bids + i - first).lots;
            asks += level(-1, skip_asks + i - first).lots;
        }
        const Word total = bids + asks;
        return total <= 0 ? 0.0 : static_cast<double>(bids - asks) / static_cast<double>(total);
    }
};
static_assert(sizeof(Book) == 128 + 8 * (6 * 192 + 4 * 192 * 64 + 2 * 4'096));

static double imbalance(const Book& book, Word levels, Word bid_lots, Word ask_lots) {
    if (levels > 1) return book.imbalance(levels);
    const Word total = bid_lots + ask_lots;
    return total <= 0 ? 0.0 : static_cast<double>(bid_lots - ask_lots) / static_cast<double>(total);
}

static double microprice(Word bid, Word bid_lots, Word ask, Word ask_lots) {
    const Word total = bid_lots + ask_lots;
    if (total <= 0) return 0.5 * static_cast<double>(bid + ask);
    const double part = static_cast<double>(bid_lots) / static_cast<double>(total);
    return static_cast<double>(bid) + static_cast<double>(ask - bid) * part;
}

// --- bot4/kernels/data_check.py --------------------------------------------------------------------------------------

static bool is_price(Word value) { return 0 < value && value <= MAX_PRICE; }

static int check_values(const Tick& tick) {
    switch (tick.kind) {
        case QUOTE:
            if (!is_price(tick.w0) || !is_price(tick.w2)) return DATA_BAD_VALUE;
            if (tick.w1 <= 0 || tick.w3 <= 0 || tick.w1 > MAX_QTY || tick.w3 > MAX_QTY) return DATA_BAD_VALUE;
            return tick.w0 < tick.w2 ? OK : DATA_CROSSED;
        case LEVEL:
            if (!is_price(tick.w0) || tick.w1 < 0 || tick.w1 > MAX_QTY) return DATA_BAD_VALUE;
            return tick.w2 == 1 || tick.w2 == -1 ? OK : DATA_BAD_VALUE;
        case TRADE:
            return !is_price(tick.w0) || tick.w1 <= 0 || tick.w1 > MAX_QTY ? DATA_BAD_VALUE : OK;
        case MARK:
            return tick.w0 > 0 ? OK : DATA_BAD_VALUE;
        case FUNDING:
        case STATUS:
            return OK;
        default:
            return DATA_BAD_KIND;
    }
}

static int check_sequence(const Tick& tick, State& state) {
    const Word event_no = tick.event_no;
    if (tick.flags & SNAPSHOT) {
        if (tick.kind == STATUS && tick.w0 == CLEAR) state.synced = 1;
        state.next_event_no = event_no + 1;
        state.last_ts_ns = tick.ts_recv_ns;
        return state.synced ? OK : DATA_GAP;
    }
    if (event_no != state.next_event_no || !state.synced) return DATA_GAP;
    state.next_event_no = event_no + 1;
    if (tick.ts_recv_ns < state.last_ts_ns) return DATA_TIME_BACK;
    state.last_ts_ns = tick.ts_recv_ns;
    return OK;
}

// --- bot4/kernels/decision, bot4/kernels/sizing ----------------------------------------------------------------------

static int check_gate(bool open_gate, bool warm, Word quote_age_ns, Word max_age_ns) {
    if (!open_gate) return GATE_SHUT;
    if (!warm) return WARMING;
    return quote_age_ns > max_age_ns ? NO_QUOTE : OK;
}

static int target_of(double score, Word current, double enter, double leave) {
    if (score >= enter) return 1;
    if (score <= -enter) return -1;
    if (current > 0 && score > leave) return 1;
    if (current < 0 && -score > leave) return -1;
    return 0;
}

static Word share(Word amount, Word bps, Word up) {
    if (amount <= 0 || bps <= 0) return 0;
    if (amount < COMMON_MONEY && bps < COMMON_BPS) return (amount * bps + up) / 10'000;
    amount = std::min(amount, MAX_MONEY);
    bps = std::min(bps, MAX_BPS);
    const Word whole = amount / 10'000;
    if (bps > 10'000 && whole > MAX_MONEY / bps) return MAX_MONEY;
    const Word rest = amount - whole * 10'000;
    return std::min(whole * bps + (rest * bps + up) / 10'000, MAX_MONEY);
}

static bool is_worth_more(Word lots, Word price_ticks, Word value_e8, Word amount_e8) {
    if (lots < SMALL && price_ticks < SMALL) {
        const Word worth = lots * price_ticks;
        if (worth < COMMON_WORTH && value_e8 < COMMON_VALUE) return worth * value_e8 > amount_e8;
        return worth > amount_e8 / value_e8;
    }
    return lots > amount_e8 / value_e8 / price_ticks;
}

static Word ceiling(Word amount, Word unit) { return (amount + unit - 1) / unit; }

static bool is_worth_less(Word lots, Word price_ticks, Word value_e8, Word amount_e8) {
    if (lots < SMALL && price_ticks < SMALL) {
        const Word worth = lots * price_ticks;
        if (worth < COMMON_WORTH && value_e8 < COMMON_VALUE) return worth * value_e8 < amount_e8;
        return worth < ceiling(amount_e8, value_e8);
    }
    return lots < ceiling(ceiling(amount_e8, value_e8), price_ticks);
}

static Word fixed_fraction_lots(Word price_ticks, Word fraction_bps, Word equity_e8, const Instrument& instrument,
                                const Limits& limits) {
    const Word value_e8 = instrument.value_e8;
    if (price_ticks <= 0 || value_e8 <= 0) return 0;
    Word budget_e8 = share(std::min(equity_e8, limits.capital_e8), std::min(fraction_bps, limits.position_bps), 0);
    if (instrument.is_spot && instrument.taker_fee_ppm > 0)
        budget_e8 = budget_e8 / (1'000'000 + instrument.taker_fee_ppm) * 1'000'000;
    if (value_e8 < SMALL && price_ticks < SMALL) return budget_e8 / (value_e8 * price_ticks);
    return budget_e8 / value_e8 / price_ticks;
}

static Word stop_price_ticks(Word side, Word price_ticks, double atr_ticks, double atr_multiple, double min_bps) {
    const double distance = std::max(atr_ticks * atr_multiple, static_cast<double>(price_ticks) * min_bps / 10'000.0);
    if (!(0.0 < distance && distance < static_cast<double>(MAX_PRICE))) return 0;
    const Word stop = price_ticks - side * static_cast<Word>(std::ceil(distance));
    return is_price(stop) ? stop : 0;
}

static Word profit_price_ticks(Word side, Word price_ticks, double atr_ticks, double atr_multiple) {
    const double distance = atr_ticks * atr_multiple;
    if (!(0.0 < distance && distance < static_cast<double>(MAX_PRICE))) return 0;
    const Word price = price_ticks + side * static_cast<Word>(std::ceil(distance));
    return is_price(price) ? price : 0;
}

// --- bot4/kernels/risk -----------------------------------------------------------------------------------------------

static Word worst_lots(int side, Word qty, const RiskView& view) {
    const Word held = std::max<Word>(view.position_lots * side, 0);
    if (side > 0) return held + view.pending_buy_lots - view.exit_buy_lots + qty;
    return held + view.pending_sell_lots - view.exit_sell_lots + qty;
}

static bool is_reducing(const Intent& order) { return order.flags & REDUCE_ONLY; }

static Word worth(Word lots, Word price_ticks, Word value_e8) {
    if (lots == 0) return 0;
    if (price_ticks <= 0 || value_e8 <= 0) return MAX_MONEY;
    if (lots < SMALL && price_ticks < SMALL) {
        const Word product = lots * price_ticks;
        if (product < COMMON_WORTH && value_e8 < COMMON_VALUE) return std::min(product * value_e8, MAX_MONEY);
    }
    if (lots > MAX_MONEY / value_e8 / price_ticks) return MAX_MONEY;
    return lots * price_ticks * value_e8;
}

static int check_fields(const Intent& order, const Instrument& instrument) {
    const Word qty = order.qty_lots, price = order.price_ticks;
    if (order.action != PLACE || (order.side != 1 && order.side != -1)) return BAD_ORDER;
    if (qty <= 0 || qty > MAX_QTY || qty > instrument.max_qty_lots) return BAD_ORDER;
    if (qty < instrument.min_qty_lots && !(order.flags & REDUCE_ONLY)) return BAD_ORDER;
    if (order.trail_ticks < 0 || order.even_ticks < 0) return BAD_ORDER;
    if (order.ts_ns < 0 || order.stop_ticks < 0 || order.stop_ticks > MAX_PRICE) return BAD_ORDER;
    if (order.tif != GTC && order.tif != IOC) return BAD_ORDER;
    if (order.flags & ~(REDUCE_ONLY | POST_ONLY) || order.leg > FLATTEN) return BAD_ORDER;
    if (order.leg != ENTRY && !(order.flags & REDUCE_ONLY)) return BAD_ORDER;
    if (order.type == LIMIT) {
        if (price <= 0 || price > MAX_PRICE) return BAD_ORDER;
        if (order.flags & POST_ONLY && order.tif != GTC) return BAD_ORDER;
    } else if (order.type != MARKET || price != 0 || order.flags & POST_ONLY) {
        return BAD_ORDER;
    }
    if (order.slices != 0 || order.slice_ds != 0) {
        if (order.slices < 2 || order.type != LIMIT || order.flags & REDUCE_ONLY) return BAD_ORDER;
        if ((order.slice_ds != 0) != (order.tif == IOC)) return BAD_ORDER;
        if (qty / order.slices < std::max<Word>(instrument.min_qty_lots, 1)) return BAD_ORDER;
    }
    const Word profit = order.aux;
    if (profit != 0) {
        if (order.type != LIMIT || order.flags & REDUCE_ONLY || profit < 0 || profit > MAX_PRICE) return BAD_ORDER;
        if ((profit - price) * order.side <= 0) return BAD_ORDER;
    }
    return OK;
}

static bool has_quote(Word now_ns, const RiskView& view, const Limits& limits) {
    if (view.bid_ticks <= 0 || view.ask_ticks <= view.bid_ticks || view.ask_ticks > MAX_PRICE) return false;
    return now_ns - view.quote_ts_ns <= limits.quote_age_ns;
}

static int check_losses(const RiskView& view, const Limits& limits) {
    const Word equity = view.equity_e8, high = view.high_water_e8, start = view.day_start_e8;
    if (equity <= 0) return NO_EQUITY;
    if (high > equity && high - equity >= share(std::min(high, limits.capital_e8), limits.drawdown_bps, 9'999)) return DRAWDOWN;
    if (view.day_shut) return DAILY_LOSS;
    const Word day_loss = share(std::min(start, limits.capital_e8), limits.daily_loss_bps, 9'999);
    if (start > equity && start - equity >= day_loss) return DAILY_LOSS;
    return view.streak ? STREAK : OK;
}

static int check_cool_down(Word now_ns, const RiskView& view, const Limits& limits) {
    return view.last_open_ns > 0 && now_ns - view.last_open_ns < limits.cool_down_ns ? COOL_DOWN : OK;
}

static bool is_empty(Word bucket_ns, Word now_ns, Word tokens, Word refill_ns) {
    if (refill_ns <= 0 || tokens <= 0) return true;
    const Word early_ns = bucket_ns - now_ns;
    return early_ns > 0 && ceiling(early_ns, refill_ns) > tokens - 1;
}

static int check_rate(Word now_ns, const RiskView& view, const Limits& limits) {
    if (is_empty(view.bucket_ns, now_ns, limits.bucket_tokens, limits.bucket_refill_ns)) return RATE;
    if (is_empty(view.shard_bucket_ns, now_ns, limits.shard_tokens, limits.shard_refill_ns)) return SHARD_RATE;
    if (is_empty(view.order_bucket_ns, now_ns, limits.order_tokens, limits.order_refill_ns)) return ORDER_RATE;
    const Word most = limits.message_tokens - limits.message_tokens / 2;
    return is_empty(view.message_bucket_ns, now_ns, most, limits.message_refill_ns) ? MESSAGE_RATE : OK;
}

static int check_repeat(const Intent& order, const RiskView& view, const Limits& limits) {
    if (view.run * order.side < limits.repeat_orders) return OK;
    return order.ts_ns - view.run_ns < limits.repeat_pause_ns ? REPEAT : OK;
}

static int check_short_spot(const Intent& order, const RiskView& view, const Instrument& instrument) {
    if (!instrument.is_spot || order.side > 0) return OK;
    return view.position_lots - view.pending_sell_lots < order.qty_lots ? SHORT_SPOT : OK;
}

static int check_self_trade(const Intent& order, const RiskView& view) {
    const Word own = order.side > 0 ? view.own_ask_ticks : view.own_bid_ticks;
    return own > 0 && (order.type == MARKET || (order.price_ticks - own) * order.side >= 0) ? SELF_TRADE : OK;
}

static Word worst_price(const Intent& order, const RiskView& view) {
    if (order.type != MARKET) return order.price_ticks;
    return order.side > 0 ? view.ask_ticks : view.bid_ticks;
}

static int check_stop(const Intent& order, const RiskView& view, const Limits& limits) {
    const Word stop = order.stop_ticks;
    if (stop <= 0) return STOP_MISSING;
    const bool market = order.type == MARKET;
    if (order.side > 0) {
        const Word reference = market ? view.bid_ticks : std::min(order.price_ticks, view.bid_ticks);
        if (stop >= reference) return STOP_SIDE;
    } else {
        const Word reference = market ? view.ask_ticks : std::max(order.price_ticks, view.ask_ticks);
        if (stop <= reference) return STOP_SIDE;
    }
    const Word price = worst_price(order, view);
    return std::abs(price - stop) * 10'000 > price * std::min(limits.stop_bps, MAX_BPS) ? STOP_FAR : OK;
}

static Word parts_ceil(Word amount, Word ppm) {
    ppm = std::min<Word>(ppm, 1'000'000);
    const Word whole = amount / 1'000'000;
    return whole * ppm + ((amount - whole * 1'000'000) * ppm + 999'999) / 1'000'000;
}

static int check_stop_loss(const Intent& order, const RiskView& view, const Instrument& instrument,
                           const Limits& limits) {
    const Word lots = worst_lots(order.side, order.qty_lots, view), price = worst_price(order, view);
    const Word own = view.own_stop_ticks, value_e8 = instrument.value_e8;
    const Word stop = own == 0 || (own - order.stop_ticks) * order.side > 0 ? order.stop_ticks : own;
    const Word fee_ppm = std::max<Word>(instrument.taker_fee_ppm, 0);
    const Word loss = worth(lots, std::abs(price - stop), value_e8) + parts_ceil(worth(lots, price, value_e8), fee_ppm) +
                      parts_ceil(worth(lots, stop, value_e8), fee_ppm + 100 * limits.slippage_bps);
    return loss > share(std::min(view.equity_e8, limits.capital_e8), limits.stop_loss_bps, 0) ? STOP_LOSS : OK;
}

static int check_collar(const Intent& order, const RiskView& view, const Limits& limits) {
    if (order.type == MARKET) return OK;
    const Word twice_mid = view.bid_ticks + view.ask_ticks;
    const Word distance = std::abs(2 * order.price_ticks - twice_mid);
    return distance * 10'000 > twice_mid * std::min(limits.collar_bps, MAX_BPS) ? COLLAR : OK;
}

static int check_notional(const Intent& order, const RiskView& view, const Instrument& instrument,
                          const Limits& limits) {
    Word price = order.price_ticks;
    if (order.type == MARKET) price = order.side > 0 ? view.ask_ticks : view.bid_ticks;
    const Word dearest = order.side > 0 ? price : std::max(price, view.bid_ticks);
    const Word value_e8 = instrument.value_e8;
    if (price <= 0 || value_e8 <= 0) return NOTIONAL;
    if (is_worth_more(order.qty_lots, dearest, value_e8, limits.order_notional_e8)) return NOTIONAL;
    return is_worth_less(order.qty_lots / std::max<Word>(order.slices, 1), price, value_e8, instrument.min_notional_e8) ? MIN_NOTIONAL : OK;
}

static int check_position(const Intent& order, const RiskView& view, const Instrument& instrument,
                          const Limits& limits) {
    const Word lots = worst_lots(order.side, order.qty_lots, view);
    const Word most_e8 = share(std::min(view.equity_e8, limits.capital_e8), 2 * std::min(limits.position_bps, MAX_BPS), 0);
    return is_worth_more(lots, view.bid_ticks + view.ask_ticks, instrument.value_e8, most_e8) ? POSITION : OK;
}

static int check_exposure(const Intent& order, const RiskView& view, const Instrument& instrument,
                          const Limits& limits) {
    const int side = order.side;
    const Word twice_mid = view.bid_ticks + view.ask_ticks;
    const Word lots = worst_lots(side, order.qty_lots, view);
    const Word same = worth(lots, twice_mid, instrument.value_e8);
    const Word worst = worth(std::max(lots, worst_lots(-side, 0, view)), twice_mid, instrument.value_e8);
    const Word equity = std::min(view.equity_e8, limits.capital_e8);
    if (view.others_gross_e8 + worst > share(equity, 2 * std::min(limits.gross_bps, MAX_BPS), 0)) return GROSS;
    if (view.others_gross_e8 + worst > share(equity, 2 * std::min(limits.strategy_bps, MAX_BPS), 0)) return STRATEGY;
    const Word side_e8 = side > 0 ? view.others_long_e8 : view.others_short_e8;
    if (side_e8 + same > share(equity, 2 * std::min(limits.net_bps, MAX_BPS), 0)) return NET;
    return view.others_venue_e8 + worst > share(equity, 2 * std::min(limits.venue_bps, MAX_BPS), 0) ? VENUE : OK;
}

static int check_order(const Intent& order, const RiskView& view, const Instrument& instrument, const Limits& limits) {
    if (const int code = check_fields(order, instrument)) return code;
    const Word now_ns = order.ts_ns;
    const bool quoted = has_quote(now_ns, view, limits);
    if (is_reducing(order)) {
        if (order.qty_lots > -view.position_lots * order.side) return NOTHING_TO_REDUCE;
        if (view.open_orders >= limits.open_orders) return OPEN_ORDERS;
        if (quoted) {
            if (const int code = check_collar(order, view, limits)) return code;
        }
        return check_repeat(order, view, limits);
    }
    if (view.killed) return KILLED;
    if (view.breaker_open) return BREAKER_OPEN;
    if (view.stale) return DATA_STALE;
    if (!quoted) return EXEC_NO_QUOTE;
    if (const int code = check_losses(view, limits)) return code;
    if (view.open_orders >= limits.open_orders) return OPEN_ORDERS;
    if (const int code = check_cool_down(now_ns, view, limits)) return code;
    if (const int code = check_rate(now_ns, view, limits)) return code;
    if (const int code = check_short_spot(order, view, instrument)) return code;
    if (const int code = check_self_trade(order, view)) return code;
    if (order.qty_lots > limits.order_lots) return ORDER_SIZE;
    if (const int code = check_stop(order, view, limits)) return code;
    if (const int code = check_collar(order, view, limits)) return code;
    if (const int code = check_notional(order, view, instrument, limits)) return code;
    if (const int code = check_position(order, view, instrument, limits)) return code;
    if (const int code = check_stop_loss(order, view, instrument, limits)) return code;
    if (const int code = check_exposure(order, view, instrument, limits)) return code;
    if (view.correlation_bps > limits.correlation_bps) return CORRELATION;
    return check_repeat(order, view, limits);
}

static void note_order(const Intent& order, RiskView& view, const Limits& limits) {
    if (!is_reducing(order)) {
        view.last_open_ns = order.ts_ns;
        view.bucket_ns = std::max(view.bucket_ns, order.ts_ns) + limits.bucket_refill_ns;
    }
    (order.side > 0 ? view.pending_buy_lots : view.pending_sell_lots) += order.qty_lots;
    ++view.open_orders;
}

static void note_done(RiskView& view, int side, Word leaves_lots) {
    Word& pending = side > 0 ? view.pending_buy_lots : view.pending_sell_lots;
    pending = std::max<Word>(pending - leaves_lots, 0);
    view.open_orders = std::max<Word>(view.open_orders - 1, 0);
}

// --- bot4/engine/shard_loop.py ---------------------------------------------------------------------------------------

// `count` zeroed records at the start of a page; numpy, too, asks for large pages from 4 MB on.
template <class T>
static T* zeroed(Word count) {
    const std::size_t size = static_cast<std::size_t>(count) * sizeof(T);
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::exit(6);
    if (size >= std::size_t{1} << 22) madvise(memory, size, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
}

struct Shard {
    Word n_instruments;
    State* states;
    View* views;
    RiskView* risks;
    Book* books;
    Strategy* strategies;
    Instrument* instruments;
    Params params;
    Limits limits;
    Session session;
    Status status{};
    Intent intent{};

    explicit Shard(Word n)
        : n_instruments(n), states(zeroed<State>(n)), views(zeroed<View>(n)), risks(zeroed<RiskView>(n)),
          books(zeroed<Book>(n)), strategies(zeroed<Strategy>(n)), instruments(zeroed<Instrument>(n)) {}

    // What bot4/engine/shard.py `shard_memory` does at the start of a session.
    void start() {
        for (Word i = 0; i < n_instruments; ++i) {
            reset_indicators(i);
            risks[i].stale = 1;
            states[i].next_event_no = 1;
            states[i].synced = 1;
            risks[i].equity_e8 = risks[i].high_water_e8 = risks[i].day_start_e8 = session.start_equity_e8;
        }
        status.execution_gate = 1;
    }

    void reset_indicators(Word i) {
        State& state = states[i];
        state.bar.init();
        state.atr.init(params.atr_period);
        state.vwap.init();
        strategies[i] = Strategy{};
        views[i].bars = 0;
        views[i].atr = 0;
        strategies[i].init(params);
    }

    void close_bar(Word i) {
        State& state = states[i];
        View& view = views[i];
        Bar& bar = state.bar;
        view.bar_trades = bar.trades;
        bar.end();
        view.open = bar.open;
        view.high = bar.high;
        view.low = bar.low;
        view.close = bar.close;
        view.volume = static_cast<double>(bar.volume);
        view.buy_volume = static_cast<double>(bar.buy_volume);
        view.turnover = static_cast<double>(bar.turnover);
        view.bar_begin_ns = bar.begin_ns;
        view.bar_end_ns = bar.end_ns;
        view.bars = bar.closed;
        view.atr = state.atr.update(bar.high, bar.low, bar.close);
        strategies[i].on_bar(params, view);
    }

    void take_trade(Word i, const Tick& tick) {
        State& state = states[i];
        View& view = views[i];
        view.trade_ticks = tick.w0;
        view.trade_lots = tick.w1;
        view.trade_side = tick.w3;
        view.vwap = state.vwap.update(tick.ts_recv_ns, tick.w0, tick.w1);
        const Word size = Bar::size_of(params.bar_kind, params.bar_ns, params.bar_size, instruments[i].value_e8);
        if (state.bar.add(tick.ts_recv_ns, tick.w0, tick.w1, tick.w3, params.bar_kind, size)) close_bar(i);
    }

    void blank_intent(Word i, const Tick& tick, int leg) {
        intent = Intent{};
        intent.ts_ns = tick.ts_recv_ns;
        intent.id_hi = session.account << 48 | session.strategy << 32 | i << 16 | session.feed_generation;
        intent.id_lo = Word{tick.event_no} << 32 | Word{leg} << 24;
        intent.instrument = static_cast<std::uint16_t>(i);
        intent.strategy = static_cast<std::uint16_t>(session.strategy);
        intent.shard = instruments[i].shard;
        intent.action = PLACE;
        intent.leg = static_cast<std::uint8_t>(leg);
        intent.event_no = tick.event_no;
        intent.order_row = -1;
        intent.ref_ticks = views[i].bid_ticks + views[i].ask_ticks;
        intent.score = states[i].last_score;
    }

    int cancel_entry(Word i, const Tick& tick) {
        const State& state = states[i];
        blank_intent(i, tick, ENTRY);
        intent.id_hi = state.order_hi;
        intent.id_lo = state.order_lo;
        intent.action = CANCEL;
        intent.side = static_cast<std::int8_t>(state.order_side);
        return CANCEL_INTENT;
    }

    int exit(Word i, const Tick& tick) {
        const RiskView& risk = risks[i];
        const Word position = risk.position_lots;
        blank_intent(i, tick, EXIT);
        intent.side = position > 0 ? -1 : 1;
        intent.type = MARKET;
        intent.tif = IOC;
        intent.flags = REDUCE_ONLY;
        intent.qty_lots = std::abs(position);
        const int code = check_order(intent, risk, instruments[i], limits);
        return code == OK ? INTENT : code;
    }

    int entry(Word i, const Tick& tick, int side) {
        const State& state = states[i];
        const View& view = views[i];
        const RiskView& risk = risks[i];
        if (status.lagging != 0) return DATA_STALE;
        const bool ready = status.execution_gate != 0 && status.resyncing == 0;
        const bool warm = strategies[i].warm != 0 && state.atr.ready();
        if (const int code = check_gate(ready, warm, tick.ts_recv_ns - risk.quote_ts_ns, limits.quote_age_ns))
            return code;
        const bool resting = params.entry_style == 1;
        const Word price = resting ? (side > 0 ? view.bid_ticks : view.ask_ticks)
                                   : (side > 0 ? view.ask_ticks : view.bid_ticks) + side * params.slippage_ticks;
        const Word lots =
            fixed_fraction_lots(price, params.position_fraction_bps, risk.equity_e8, instruments[i], limits);
        if (lots == 0 && risk.equity_e8 > 0) return SIZE_ZERO;
        blank_intent(i, tick, ENTRY);
        intent.side = static_cast<std::int8_t>(side);
        intent.type = LIMIT;
        intent.tif = resting ? GTC : IOC;
        intent.flags = resting ? POST_ONLY : 0;
        intent.price_ticks = price;
        intent.sized_by = SIZED_BY_FRACTION;
        intent.slices = static_cast<std::uint8_t>(params.entry_slices);
        intent.slice_ds = static_cast<std::uint16_t>(params.slice_ms / 100);
        intent.qty_lots = lots > 0 ? lots : std::max<Word>(instruments[i].min_qty_lots, 1);
        intent.stop_ticks = stop_price_ticks(side, price, view.atr, params.stop_atr_multiple, params.stop_min_bps);
        if (params.stop_trails == 1 && intent.stop_ticks > 0)
            intent.trail_ticks = static_cast<std::int32_t>(std::min<Word>(std::abs(price - intent.stop_ticks), MOST_TICKS));
        intent.even_ticks = static_cast<std::int32_t>(
            std::min(view.atr * params.even_atr_multiple, static_cast<double>(MOST_TICKS)));
        intent.aux = profit_price_ticks(side, price, view.atr, params.profit_atr_multiple);
        const int code = check_order(intent, risk, instruments[i], limits);
        return code == OK ? INTENT : code;
    }

    void note_intent() {
        const Word i = intent.instrument;
        State& state = states[i];
        if (intent.action == CANCEL) {
            state.cancel_sent_ns = intent.ts_ns;
            return;
        }
        note_order(intent, risks[i], limits);
        state.order_active = 1;
        state.cancel_sent_ns = 0;
        state.order_hi = intent.id_hi;
        state.order_lo = intent.id_lo;
        state.order_leg = intent.leg;
        state.order_side = intent.side;
        state.order_leaves = intent.qty_lots;
        state.order_sent_ns = intent.ts_ns;
    }

    int decide(Word i, const Tick& tick) {
        State& state = states[i];
        View& view = views[i];
        RiskView& risk = risks[i];
        const Book& book = books[i];
        const Word now_ns = tick.ts_recv_ns;
        const Word bid = book.top_bid(), ask = book.top_ask();
        risk.bid_ticks = bid;
        risk.ask_ticks = ask;
        if (bid <= 0 || ask <= bid) return NO_QUOTE;
        const Word bid_lots = book.top_bid_lots(), ask_lots = book.top_ask_lots();
        view.ts_ns = now_ns;
        view.bid_ticks = bid;
        view.ask_ticks = ask;
        view.bid_lots = bid_lots;
        view.ask_lots = ask_lots;
        view.mid = 0.5 * static_cast<double>(bid + ask);
        view.microprice = microprice(bid, bid_lots, ask, ask_lots);
        view.imbalance = imbalance(book, params.imbalance_levels, bid_lots, ask_lots);
        const double score = strategies[i].on_tick(params, view);
        if (!std::isfinite(score)) return BAD_SCORE;
        state.last_score = score;
        if (state.order_active) {
            const bool takes = params.entry_style == 0;
            if (state.order_leg != ENTRY || (takes && params.entry_slices == 0)) return NOTHING;
            if (state.cancel_sent_ns > 0 && now_ns - state.cancel_sent_ns < CANCEL_RETRY_NS) return NOTHING;
            const Word side = state.order_side;
            const bool wanted = target_of(score, side, params.enter_threshold, params.exit_threshold) == side;
            if (wanted && now_ns - state.order_sent_ns < params.entry_life_ns) return NOTHING;
            return cancel_entry(i, tick);
        }
        const Word position = risk.position_lots;
        const int current = position > 0 ? 1 : position < 0 ? -1 : 0;
        const int target = target_of(score, current, params.enter_threshold, params.exit_threshold);
        const Word held_ns = now_ns - state.entry_ns;
        const bool timed_out = current != 0 && params.max_hold_ns > 0 && params.max_hold_ns <= held_ns;
        if ((target == current && !timed_out) || now_ns < state.pause_until_ns) return NOTHING;
        if (current != 0) {
            if (held_ns < params.min_hold_ns && !timed_out) return NOTHING;
            if (status.resyncing != 0) return GATE_SHUT;
            if (strategies[i].warm == 0 && !timed_out) return WARMING;
            return exit(i, tick);
        }
        return entry(i, tick, target);
    }

    int step(Word k, const Tick& tick, Word killed) {
        const Word i = tick.instrument;
        if (i >= n_instruments || instruments[i].shard != k) return DATA_BAD_KIND;
        State& state = states[i];
        if (tick.flags & SNAPSHOT && state.synced && tick.event_no >= state.next_event_no) reset_indicators(i);
        int code = check_sequence(tick, state);
        if (code == OK) code = check_values(tick);
        if (code != OK) {
            if (state.synced) {
                state.synced = 0;
                status.snapshot_wanted = 1;
                reset_indicators(i);
            }
            return code;
        }
        const Word ts_ns = tick.ts_recv_ns;
        if (state.bar.is_over(ts_ns)) close_bar(i);
        if (tick.kind == TRADE) {
            take_trade(i, tick);
        } else if (tick.kind == MARK) {
            state.mark_e8 = tick.w0;
            return NOTHING;
        } else {
            if (state.blind) {
                if (tick.kind != STATUS || tick.w0 != CLEAR) return NOTHING;
                state.blind = 0;
            }
            books[i].apply(tick);
            risks[i].stale = books[i].whole ? 0 : 1;
            if (tick.kind > MARK) return NOTHING;
            risks[i].quote_ts_ns = ts_ns;
        }
        if (!(tick.flags & LAST) || state.blind) return NOTHING;
        risks[i].killed = killed;
        return decide(i, tick);
    }

    // Flattened: Python's kernels are marked to be inlined, each of them.
    [[gnu::flatten]] Word step_batch(const Tick* ticks, Word first, Word count) {
        Word intents = 0;
        for (Word at = first; at < first + count; ++at) {
            if (step(0, ticks[at], 0) != INTENT) continue;
            ++intents;
            note_intent();
            const Word i = intent.instrument;
            states[i].order_active = 0;
            note_done(risks[i], intent.side, intent.qty_lots);
        }
        return intents;
    }
};

template <class T>
static void put(const T* records, Word count) {
    const std::size_t wanted = static_cast<std::size_t>(count);
    if (std::fwrite(records, sizeof(T), wanted, stdout) != wanted) std::exit(5);
}

template <class T>
static void take(T* records, Word count) {
    const std::size_t wanted = static_cast<std::size_t>(count);
    if (std::fread(records, sizeof(T), wanted, stdin) != wanted) std::exit(3);
}

int main(int count, char** arguments) {
    if (count != 5) return 2;
    const Word instruments = std::atoll(arguments[1]), n = std::atoll(arguments[2]);
    const Word warm = std::atoll(arguments[3]), batch = std::atoll(arguments[4]);
    Shard shard(instruments);
    Tick* ticks = zeroed<Tick>(n);
    take(shard.instruments, instruments);
    take(&shard.limits, 1);
    take(&shard.session, 1);
    take(&shard.params, 1);
    take(ticks, n);
    shard.start();
    shard.step_batch(ticks, 0, warm);
    if (batch == 0) {
        for (Word at = warm; at < n; ++at)
            if (shard.step_batch(ticks, at, 1)) put(&shard.intent, 1);
        put(shard.states, instruments);
        put(shard.views, instruments);
        put(shard.risks, instruments);
        put(shard.strategies, instruments);
        return 0;
    }
    const Word batches = (n - warm) / batch;
    std::vector<Word> stamps(batches + 1);
    Word intents = 0;
    stamps[0] = static_cast<Word>(__rdtsc());
    for (Word at = 0; at < batches; ++at) {
        intents += shard.step_batch(ticks, warm + at * batch, batch);
        stamps[at + 1] = static_cast<Word>(__rdtsc());
    }
    if (intents != batches * batch) return 4;  // every step of the bench makes an order
    put(stamps.data(), batches + 1);
    return 0;
}
