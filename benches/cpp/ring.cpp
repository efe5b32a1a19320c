// Twin of bot4/shm/spsc_ring.py: sequence in the slot, payload first. Also the raw lines.
//
//   ring hop  WIDTH N CORE CORE    N stamps (cycles), one after each round trip
//   ring rate WIDTH N CORE CORE    two stamps: first record and last record read
//   ring line BACK  N CORE CORE    N stamps; BACK 0: one line, 32: two lines

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

using Word = std::int64_t;
constexpr Word kCapacity = 16384;

static Word load(const Word* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static void store(Word* word, Word value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

template <int W>
struct Ring {
    alignas(128) Word head = 0;
    Word cached_tail = 0;
    alignas(128) Word tail = 0;
    alignas(128) Word slots[kCapacity * W];

    bool has_space() {
        const Word limit = head + 1 - kCapacity;
        if (cached_tail >= limit) return true;
        cached_tail = load(&tail);
        return cached_tail >= limit;
    }
    void push(const Word* source) {
        Word* slot = slots + (head & (kCapacity - 1)) * W;
        for (int word = 0; word < W - 1; ++word) slot[word] = source[word];
        store(slot + W - 1, head + 1);
        ++head;
    }
    bool peek(Word* target) const {
        const Word* slot = slots + (tail & (kCapacity - 1)) * W;
        if (load(slot + W - 1) != tail + 1) return false;
        for (int word = 0; word < W; ++word) target[word] = slot[word];
        return true;
    }
    void consume() { store(&tail, tail + 1); }
};

static void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

template <class T>
static T* shared(std::size_t count) {
    void* memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) std::exit(3);
    return static_cast<T*>(memory);
}

template <class First, class Second>
static void both(int core, int other, First first, Second second) {
    const pid_t child = fork();
    if (child < 0) std::exit(4);
    if (child == 0) {
        pin(other);
        second();
        _exit(0);
    }
    pin(core);
    first();
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) std::exit(5);
}

template <int W>
static void hop(Word n, int core, int other, Word* stamps) {
    auto* there = shared<Ring<W>>(1);
    auto* back = shared<Ring<W>>(1);
    both(core, other,
         [&] {
             Word record[W] = {}, target[W];
             for (Word at = 0; at < n; ++at) {
                 record[0] = at;
                 while (!there->has_space()) {}
                 there->push(record);
                 while (!back->peek(target)) {}
                 back->consume();
                 stamps[at] = static_cast<Word>(__rdtsc());
             }
         },
         [&] {
             Word target[W];
             for (Word at = 0; at < n; ++at) {
                 while (!there->peek(target)) {}
                 there->consume();
                 while (!back->has_space()) {}
                 back->push(target);
             }
         });
}

template <int W>
static void rate(Word n, int core, int other, Word* stamps) {
    auto* ring = shared<Ring<W>>(1);
    both(core, other,
         [&] {
             Word record[W] = {};
             for (Word at = 0; at < n; ++at) {
                 record[0] = at;
                 while (!ring->has_space()) _mm_pause();
                 ring->push(record);
             }
         },
         [&] {
             Word target[W];
             for (Word at = 0; at < n; ++at) {
                 while (!ring->peek(target)) {}
                 if (target[0] != at) _exit(6);
                 ring->consume();
                 if (at == 0) stamps[0] = static_cast<Word>(__rdtsc());
             }
             stamps[1] = static_cast<Word>(__rdtsc());
         });
}

static void line(Word back, Word n, int core, int other, Word* stamps) {
    Word* words = shared<Word>(512);
    both(core, other,
         [&] {
             for (Word number = 1; number <= n; ++number) {
                 store(words, 2 * number - 1);
                 while (load(words + back) != 2 * number) {}
                 stamps[number - 1] = static_cast<Word>(__rdtsc());
             }
         },
         [&] {
             for (Word number = 1; number <= n; ++number) {
                 while (load(words) != 2 * number - 1) {}
                 store(words + back, 2 * number);
             }
         });
}

int main(int count, char** arguments) {
    if (count != 6) return 2;
    const std::string what = arguments[1];
    const Word width = std::atoll(arguments[2]), n = std::atoll(arguments[3]);
    const int core = std::atoi(arguments[4]), other = std::atoi(arguments[5]);
    Word* stamps = shared<Word>(n + 2);
    if (what == "hop" && width == 8) hop<8>(n, core, other, stamps);
    else if (what == "hop" && width == 16) hop<16>(n, core, other, stamps);
    else if (what == "rate" && width == 8) rate<8>(n, core, other, stamps);
    else if (what == "rate" && width == 16) rate<16>(n, core, other, stamps);
    else if (what == "line") line(width, n, core, other, stamps);
    else return 2;
    const std::size_t written = what == "rate" ? 2 : static_cast<std::size_t>(n);
    return std::fwrite(stamps, sizeof(Word), written, stdout) == written ? 0 : 7;
}
