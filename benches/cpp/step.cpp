// Twin of the shard step on a trade that closes a bar and becomes an order (case order_32 of bot4/cli/measure/step.py):
// data check, bar, ATR, VWAP, two EMAs, MACD, RSI, Bollinger, score, target, size, stop, every risk check, the intent.
// The same records, the same order of operations, the same divisions.
//
//   step INSTRUMENTS N WARM BATCH    stdin: N ticks (TICK records), of which the first WARM are not measured;
//                                    stdout: (N - WARM) / BATCH + 1 stamps (cycles)

#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

using Word = std::int64_t;

struct Tick {
    Word ts;
    std::int32_t lag;
    std::uint16_t instrument;
    std::uint8_t kind, flags;
    Word w0, w1, w2, w3;
    std::uint32_t event_no, tsc_low;
    std::uint64_t seq;
};
static_assert(sizeof(Tick) == 64);

struct alignas(64) Intent {
    Word ts, id_hi, id_lo, price, qty, stop, ref;
    std::uint16_t instrument, strategy, shard;
    std::uint8_t action;
    std::int8_t side;
    std::uint8_t type, tif, flags, leg;
    std::uint32_t event_no;
    std::int32_t row, reserved;
    Word tsc, aux;
    double score;
    Word tsc_read, reserved2, seq;
};
static_assert(sizeof(Intent) == 128);

struct Ema {
    double value = 0, alpha;
    Word period, count = 0;
    explicit Ema(Word n) : alpha(2.0 / (n + 1.0)), period(n) {}
    double update(double x) {
        ++count;
        value += count <= period ? (x - value) / count : (x - value) * alpha;
        return value;
    }
    bool ready() const { return count >= period; }
};

struct Instrument {
    Word value_e8 = 100, min_notional = 500'000'000, min_qty = 1, max_qty = 10'000'000, is_spot = 0, taker = 500;
};
struct Limits {
    Word position_bps = 200, notional = 10'000'000'000'000, lots = 10'000'000, collar_bps = 100, drawdown_bps = 1'500,
         daily_bps = 300, open_orders = 16, cool_down = 0, tokens = 1'000'000, refill = 1, quote_age = 86'400'000'000'000;
};
struct Params {
    Word bar_ns = 0, min_hold = 1'000'000'000, fraction_bps = 150, slippage = 1;
    double enter = 0, leave = 0, stop_multiple = 2, stop_bps = 5, trend = .4, macd = .2, rsi = .1, band = .1, imbalance = .2;
};

struct alignas(64) State {
    Word next_event = 1, last_ts = 0, synced = 1, order_active = 0, pause_until = 0, entry_ns = 0;
    double last_score = 0;
    Word order_hi = 0, order_lo = 0, order_leg = 0, order_side = 0, order_leaves = 0, order_sent = 0;
    double open = 0, high = 0, low = 0, close = 0, volume = 0;
    Word trades = 0, end_ns = 0, closed = 0;
    double atr = 0, atr_close = 0;
    Word atr_count = 0;
    double vwap = 0, weighted = 0, day_volume = 0;
    Word anchor = 0, day = -1;
    Ema fast{12}, slow{26}, macd_fast{12}, macd_slow{26}, signal{9};
    Word skip = 14;
    double rsi = 0, gain = 0, loss = 0, rsi_last = 0;
    Word rsi_count = 0;
    double mean = 0, deviation = 0, squares = 0;
    Word band_count = 0, band_at = 0;
    double window[20] = {};
    double bar_score = 0, micro = 0, book_imbalance = 0, mid = 0;
    Word warm = 0;
    Word bid = 5'999'999, bid_lots = 500, ask = 6'000'001, ask_lots = 500;
    Word position = 0, pending_buy = 0, pending_sell = 0, orders = 0, quote_ts = 0, equity = 10'000'000'000'000,
         high_water = 10'000'000'000'000, day_start = 10'000'000'000'000, last_open = 0, bucket = 0, killed = 0, breaker = 0,
         stale = 0;
};

static double squash(double x) { return x / (1.0 + std::fabs(x)); }

static Word share(Word amount, Word bps, Word round) {
    if (amount <= 0 || bps <= 0) return 0;
    constexpr Word most = Word{1} << 61;
    amount = std::min(amount, most);
    bps = std::min<Word>(bps, 1'000'000);
    const Word whole = amount / 10'000;
    if (whole >= most / bps) return most;
    return std::min(whole * bps + ((amount - whole * 10'000) * bps + round) / 10'000, most);
}

static void band(State& s, double x) {
    const double old = s.window[s.band_at];
    s.window[s.band_at++] = x;
    const bool full = s.band_count >= 20;
    if (!full) ++s.band_count;
    const double n = static_cast<double>(s.band_count);
    if (s.band_at == 20) {
        s.band_at = 0;
        double total = 0, squares = 0;
        for (double y : s.window) total += y;
        const double mean = total / n;
        for (double y : s.window) squares += (y - mean) * (y - mean);
        s.mean = mean;
        s.squares = squares;
    } else {
        const double mean = s.mean;
        if (full) {
            s.mean = mean + (x - old) / n;
            s.squares += (x - old) * (x - s.mean + old - mean);
        } else {
            s.mean = mean + (x - mean) / n;
            s.squares += (x - mean) * (x - s.mean);
        }
    }
    s.deviation = std::sqrt(std::max(s.squares, 0.0) / n);
}

static void on_bar(State& s, const Params& p, double close) {
    const double fast = s.fast.update(close), slow = s.slow.update(close);
    s.macd_slow.update(close);
    double histogram = 0;
    if (s.skip > 0) {
        --s.skip;
    } else {
        s.macd_fast.update(close);
        if (s.macd_slow.ready()) {
            const double difference = s.macd_fast.value - s.macd_slow.value;
            histogram = difference - s.signal.update(difference);
        }
    }
    const Word count = s.rsi_count++;
    const double change = close - s.rsi_last;
    s.rsi_last = close;
    if (count > 0) {
        const double weight = 1.0 / std::min<Word>(count, 14);
        s.gain += (std::max(change, 0.0) - s.gain) * weight;
        s.loss += (std::max(-change, 0.0) - s.loss) * weight;
        const double total = s.gain + s.loss;
        s.rsi = total > 0 ? 100.0 * s.gain / total : 0.0;
    }
    band(s, close);
    const double unit = s.atr > 0 ? s.atr : 1.0;
    const double place = s.deviation <= 0 ? 0.0 : (close - s.mean) / s.deviation;
    s.bar_score = p.trend * squash((fast - slow) / unit) + p.macd * squash(histogram / unit) + p.rsi * (s.rsi - 50.0) / 50.0 +
                  p.band * squash(place);
    if (s.slow.ready() && s.signal.ready() && s.rsi_count > 14 && s.band_count >= 20) s.warm = 1;
}

static void take_trade(State& s, const Params& p, const Tick& t) {
    const Word day = t.ts / 86'400'000'000'000;
    if (day != s.day) {
        s.day = day;
        s.weighted = s.day_volume = 0;
        s.anchor = t.w0;
    }
    s.weighted += static_cast<double>(t.w0 - s.anchor) * t.w1;
    s.day_volume += t.w1;
    s.vwap = s.anchor + s.weighted / s.day_volume;
    const double price = static_cast<double>(t.w0);
    if (s.trades == 0) {
        s.open = s.high = s.low = price;
        s.volume = 0;
        s.end_ns = p.bar_ns > 0 ? t.ts - t.ts % p.bar_ns + p.bar_ns : t.ts;
    }
    s.high = std::max(s.high, price);
    s.low = std::min(s.low, price);
    s.close = price;
    s.volume += t.w1;
    s.trades = 0;
    ++s.closed;
    const Word count = s.atr_count++;
    if (count > 0)
        s.atr += (std::max(s.high, s.atr_close) - std::min(s.low, s.atr_close) - s.atr) / std::min<Word>(count, 14);
    s.atr_close = price;
    on_bar(s, p, price);
}

static int check(const Intent& o, const State& s, const Instrument& i, const Limits& l) {
    constexpr Word most = (Word{1} << 40) - 1;
    if (o.action != 1 || (o.side != 1 && o.side != -1) || o.qty <= 0 || o.qty > most || o.qty > i.max_qty || o.qty < i.min_qty)
        return 317;
    if (o.ts < 0 || o.stop < 0 || o.stop > most || (o.tif != 1 && o.tif != 2) || o.flags > 3 || o.leg > 3) return 317;
    if (o.type != 2 || o.price <= 0 || o.price > most) return 317;
    const bool quoted = s.bid > 0 && s.ask > s.bid && s.ask <= most && o.ts - s.quote_ts <= l.quote_age;
    const Word worst = o.side > 0 ? s.position + s.pending_buy + o.qty : s.position - s.pending_sell - o.qty;
    if (worst * o.side <= 0) return 0;
    if (s.killed) return 301;
    if (s.breaker) return 302;
    if (s.stale) return 103;
    if (!quoted) return 409;
    if (s.equity <= 0) return 315;
    if (s.high_water > s.equity && s.high_water - s.equity >= share(s.high_water, l.drawdown_bps, 9'999)) return 307;
    if (s.day_start > s.equity && s.day_start - s.equity >= share(s.day_start, l.daily_bps, 9'999)) return 308;
    if (s.orders >= l.open_orders) return 311;
    if (s.last_open > 0 && o.ts - s.last_open < l.cool_down) return 312;
    const Word early = s.bucket - o.ts;
    if (early > 0 && (early + l.refill - 1) / l.refill > l.tokens - 1) return 313;
    if (i.is_spot && o.side < 0 && worst < 0) return 316;
    if (o.qty > l.lots) return 305;
    if (o.stop <= 0) return 309;
    if (o.side > 0 ? o.stop >= std::min(o.price, s.bid) : o.stop <= std::max(o.price, s.ask)) return 310;
    const Word twice = s.bid + s.ask;
    if (std::abs(2 * o.price - twice) * 10'000 > twice * l.collar_bps) return 306;
    const Word dearest = o.side > 0 ? o.price : std::max(o.price, s.bid);
    if (o.qty > l.notional / i.value_e8 / dearest) return 304;
    const Word least = (i.min_notional + i.value_e8 - 1) / i.value_e8;
    if (o.qty < (least + o.price - 1) / o.price) return 318;
    if (worst * o.side > share(s.equity, 2 * l.position_bps, 0) / i.value_e8 / twice) return 303;
    return 0;
}

static int step(State& s, const Params& p, const Instrument& i, const Limits& l, const Tick& t, Intent& o) {
    if (t.event_no != s.next_event || !s.synced) return 101;
    ++s.next_event;
    if (t.ts < s.last_ts) return 105;
    s.last_ts = t.ts;
    if (t.kind != 1 || t.w0 <= 0 || t.w1 <= 0) return 104;
    take_trade(s, p, t);
    if (s.bid <= 0 || s.ask <= s.bid) return 202;
    s.mid = 0.5 * (s.bid + s.ask);
    const double total = static_cast<double>(s.bid_lots + s.ask_lots);
    s.micro = s.bid + (s.ask - s.bid) * (s.bid_lots / total);
    s.book_imbalance = (s.bid_lots - s.ask_lots) / total;
    const double score = std::max(-1.0, std::min(1.0, s.bar_score + p.imbalance * s.book_imbalance));
    s.last_score = score;
    if (s.order_active) return 0;
    const int target = score >= p.enter ? 1 : score <= -p.enter ? -1 : 0;
    if (target == 0 || t.ts < s.pause_until) return 0;
    if (!s.warm || s.atr_count <= 14) return 201;
    const Word price = (target > 0 ? s.ask : s.bid) + target * p.slippage;
    const Word lots = share(s.equity, std::min(p.fraction_bps, l.position_bps), 0) / i.value_e8 / price;
    if (lots == 0) return 314;
    std::memset(&o, 0, sizeof o);
    o.ts = t.ts;
    o.id_hi = Word{1} << 48 | Word{1} << 32 | Word{t.instrument} << 16 | 1;
    o.id_lo = Word{t.event_no} << 32;
    o.instrument = t.instrument;
    o.strategy = 1;
    o.action = 1;
    o.event_no = t.event_no;
    o.row = -1;
    o.ref = s.bid + s.ask;
    o.score = score;
    o.side = static_cast<std::int8_t>(target);
    o.type = 2;
    o.tif = 2;
    o.price = price;
    o.qty = lots;
    const double distance = std::max(s.atr * p.stop_multiple, price * p.stop_bps / 10'000.0);
    const Word stop = price - target * static_cast<Word>(std::ceil(distance));
    o.stop = stop > 0 ? stop : 0;
    const int code = check(o, s, i, l);
    return code == 0 ? -1 : code;
}

static void note(State& s, const Intent& o, const Limits& l) {
    s.last_open = o.ts;
    s.bucket = std::max(s.bucket, o.ts) + l.refill;
    (o.side > 0 ? s.pending_buy : s.pending_sell) += o.qty;
    ++s.orders;
    s.order_active = 1;
    s.order_hi = o.id_hi;
    s.order_lo = o.id_lo;
    s.order_leg = o.leg;
    s.order_side = o.side;
    s.order_leaves = o.qty;
    s.order_sent = o.ts;
    // the bench's execution: it expires at once
    s.order_active = 0;
    Word& pending = o.side > 0 ? s.pending_buy : s.pending_sell;
    pending = std::max<Word>(pending - o.qty, 0);
    s.orders = std::max<Word>(s.orders - 1, 0);
}

int main(int count, char** arguments) {
    if (count != 5) return 2;
    const Word instruments = std::atoll(arguments[1]), n = std::atoll(arguments[2]);
    const Word warm = std::atoll(arguments[3]), batch = std::atoll(arguments[4]);
    std::vector<Tick> ticks(n);
    if (std::fread(ticks.data(), sizeof(Tick), n, stdin) != static_cast<std::size_t>(n)) return 3;
    std::vector<State> states(instruments);
    std::vector<Instrument> table(instruments);
    const Params params;
    const Limits limits;
    Intent intent{};
    Word intents = 0;
    const auto run = [&](Word from, Word to) {
        for (Word at = from; at < to; ++at) {
            const Tick& tick = ticks[at];
            State& state = states[tick.instrument];
            state.quote_ts = tick.ts;
            if (step(state, params, table[tick.instrument], limits, tick, intent) == -1) {
                ++intents;
                note(state, intent, limits);
            }
        }
    };
    run(0, warm);
    intents = 0;
    std::vector<Word> stamps{static_cast<Word>(__rdtsc())};
    for (Word at = warm; at < n; at += batch) {
        run(at, at + batch);
        stamps.push_back(static_cast<Word>(__rdtsc()));
    }
    if (intents != n - warm) return 4;  // every step of the bench makes an order
    return std::fwrite(stamps.data(), sizeof(Word), stamps.size(), stdout) == stamps.size() ? 0 : 5;
}
