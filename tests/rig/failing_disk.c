/* Preloaded: the n-th call of one function on a file of a journal fails with an errno, once; all calls are counted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static const char *wanted = "";
static int countdown, with_errno;
static int failed, syncs_after; /* syncs of a file whose sync has failed */
static char failed_path[4096];

void fault_arm(const char *name, int nth, int number) {
    wanted = strdup(name);
    countdown = nth, with_errno = number, failed = 0, syncs_after = 0, failed_path[0] = 0;
}
int fault_failed(void) { return failed; }
const char *fault_path(void) { return failed_path; }
int fault_syncs_after(void) { return syncs_after; }

static int of_journal(const char *path) {
    const char *name = strrchr(path, '/');
    return name && !strncmp(name, "/journal", 8);
}
static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, 4095);
    path[n < 0 ? 0 : n] = 0;
    return n > 0;
}
static int fails_on(const char *name, const char *path) {
    if (!of_journal(path)) return 0;
    if (failed && (!strcmp(name, "fdatasync") || !strcmp(name, "fsync")) && !strcmp(path, failed_path))
        __atomic_add_fetch(&syncs_after, 1, __ATOMIC_SEQ_CST);
    if (strcmp(name, wanted) || failed || __atomic_sub_fetch(&countdown, 1, __ATOMIC_SEQ_CST) != 0) return 0;
    strcpy(failed_path, path);
    failed = 1;
    errno = with_errno;
    return 1;
}
static int fails(const char *name, int fd) {
    char path[4096];
    return path_of(fd, path) && fails_on(name, path);
}
#define REAL(name, type, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

int fdatasync(int fd) { return fails("fdatasync", fd) ? -1 : REAL("fdatasync", int, int)(fd); }
int fsync(int fd) { return fails("fsync", fd) ? -1 : REAL("fsync", int, int)(fd); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) {
    return fails("pwrite", fd) ? -1 : REAL("pwrite64", ssize_t, int, const void *, size_t, off64_t)(fd, b, n, at);
}
ssize_t write(int fd, const void *b, size_t n) {
    return fails("write", fd) ? -1 : REAL("write", ssize_t, int, const void *, size_t)(fd, b, n);
}
int posix_fallocate64(int fd, off64_t at, off64_t n) {
    return fails("fallocate", fd) ? with_errno : REAL("posix_fallocate64", int, int, off64_t, off64_t)(fd, at, n);
}
int rename(const char *from, const char *to) {
    return fails_on("rename", to) ? -1 : REAL("rename", int, const char *, const char *)(from, to);
}
int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = flags & O_CREAT ? va_arg(rest, int) : 0;
    va_end(rest);
    return fails_on("open", path) ? -1 : REAL("open64", int, const char *, int, ...)(path, flags, mode);
}
