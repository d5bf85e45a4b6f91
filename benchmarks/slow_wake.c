/* A host that takes a millisecond to wake up, for benchmarks/busy_host.py.
 *
 *     cc -shared -fPIC -O2 -o slow_wake.so slow_wake.c -ldl
 *     LD_PRELOAD=./slow_wake.so EDGEAI_WAKE_US=1000 pytest suites/ --benchmark-only
 *
 * A call that really waited for something returns so much later. One that found what it wanted, or that does not
 * block, returns as always; so does everything that waits by other calls.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>

#define WAITED_NS 20000L

static long wake_ns(void) {
    static long value = -1;
    if (value < 0) {
        const char *text = getenv("EDGEAI_WAKE_US");
        value = (text ? atol(text) : 1000) * 1000L;
    }
    return value;
}

static long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void wake_up(long began) {
    long woken = now_ns();
    if (woken - began > WAITED_NS)
        while (now_ns() - woken < wake_ns())
            ;
}

#define SLOW(type, name, parameters, arguments)                    \
    type name parameters {                                         \
        static type(*real) parameters;                             \
        if (!real)                                                 \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name);    \
        long began = now_ns();                                     \
        type result = real arguments;                              \
        wake_up(began);                                            \
        return result;                                             \
    }

SLOW(int, poll, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout))
SLOW(int, ppoll, (struct pollfd * fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask),
     (fds, n, timeout, mask))
SLOW(int, select, (int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout), (n, r, w, e, timeout))
SLOW(int, epoll_wait, (int fd, struct epoll_event *events, int n, int timeout), (fd, events, n, timeout))
SLOW(ssize_t, recv, (int fd, void *buffer, size_t n, int flags), (fd, buffer, n, flags))
SLOW(ssize_t, recvfrom,
     (int fd, void *buffer, size_t n, int flags, struct sockaddr *address, socklen_t *length),
     (fd, buffer, n, flags, address, length))
SLOW(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
SLOW(int, nanosleep, (const struct timespec *wanted, struct timespec *left), (wanted, left))
SLOW(int, clock_nanosleep, (clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left),
     (clock, flags, wanted, left))
