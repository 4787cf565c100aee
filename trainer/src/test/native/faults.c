/* Loaded before the C library: fails the n-th call that touches a checkpoint which is being written.
 * Java's file channels end in these calls. Only the test's own process is affected. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { FAIL = 1, SHORT_THEN_FULL = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int armed, mode, count, fired, full;

/* Fails the n-th call from now on; 0 for none. */
void faults_arm(int n, int how) {
    pthread_mutex_lock(&lock);
    armed = n, mode = how, count = 0, fired = 0, full = 0;
    pthread_mutex_unlock(&lock);
}

/* Whether the call came. */
int faults_fired(void) {
    return fired;
}

static int unfinished(const char *path) {
    return path != NULL && strstr(path, "/.checkpoint-") != NULL;
}

static int unfinished_file(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) {
        return 0;
    }
    path[length] = 0;
    return unfinished(path);
}

/* FAIL or SHORT_THEN_FULL when this call is the one, else 0. */
static int now(void) {
    int how = 0;
    pthread_mutex_lock(&lock);
    if (armed != 0 && ++count == armed) {
        fired = 1, how = mode;
    } else if (full) {
        how = FAIL;
    }
    pthread_mutex_unlock(&lock);
    return how;
}

#define NEXT(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

/* How many bytes the next write may write; -1 for an error. */
static ssize_t allowed(int fd, size_t bytes) {
    if (!unfinished_file(fd)) {
        return (ssize_t) bytes;
    }
    switch (now()) {
        case FAIL:
            errno = ENOSPC;
            return -1;
        case SHORT_THEN_FULL:
            full = 1;
            return (ssize_t) (bytes / 2);
        default:
            return (ssize_t) bytes;
    }
}

ssize_t write(int fd, const void *data, size_t bytes) {
    ssize_t some = allowed(fd, bytes);
    return some < 0 ? -1 : NEXT(write)(fd, data, (size_t) some);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
    ssize_t some = allowed(fd, bytes);
    return some < 0 ? -1 : NEXT(pwrite64)(fd, data, (size_t) some, at);
}

#define FAILS(condition, error)       \
    if ((condition) && now() != 0) {  \
        errno = error;                \
        return -1;                    \
    }

int fsync(int fd) {
    FAILS(unfinished_file(fd), EIO)
    return NEXT(fsync)(fd);
}

int fdatasync(int fd) {
    FAILS(unfinished_file(fd), EIO)
    return NEXT(fdatasync)(fd);
}

int rename(const char *from, const char *to) {
    FAILS(unfinished(from), EIO)
    return NEXT(rename)(from, to);
}

int mkdir(const char *path, mode_t rights) {
    FAILS(unfinished(path), ENOSPC)
    return NEXT(mkdir)(path, rights);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t rights = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    FAILS((flags & O_CREAT) != 0 && unfinished(path), ENOSPC)
    return NEXT(open64)(path, flags, rights);
}
