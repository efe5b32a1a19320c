/* Preloaded by tests/stress/test_hot_path.py: counts every call of malloc, calloc and realloc of this process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

long bot4_allocations = 0;
static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static char early[4096]; /* dlsym itself allocates once before anything is known */
static size_t early_used = 0;

static void find(void) {
    next_malloc = dlsym(RTLD_NEXT, "malloc");
    next_calloc = dlsym(RTLD_NEXT, "calloc");
    next_realloc = dlsym(RTLD_NEXT, "realloc");
}

void *malloc(size_t size) {
    if (!next_malloc) find();
    __atomic_fetch_add(&bot4_allocations, 1, __ATOMIC_RELAXED);
    return next_malloc(size);
}

void *calloc(size_t count, size_t size) {
    if (!next_calloc) {
        void *piece = early + early_used;
        early_used += (count * size + 15) & ~(size_t)15;
        return early_used <= sizeof early ? piece : NULL;
    }
    __atomic_fetch_add(&bot4_allocations, 1, __ATOMIC_RELAXED);
    return next_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    if (!next_realloc) find();
    __atomic_fetch_add(&bot4_allocations, 1, __ATOMIC_RELAXED);
    return next_realloc(old, size);
}
