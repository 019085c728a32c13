/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

const char *program = "pktring";
volatile sig_atomic_t stopping;

static pktring_t *const *woken;
static unsigned woken_count;

static void say(const char *format, va_list arguments)
{
    flockfile(stderr);
    progress_end();
    fflush(stdout); /* in order, where both are the same */
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    funlockfile(stderr);
}

void complain(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void die(int status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    exit(status);
}

void bad_usage(void)
{
    exit(USAGE); /* getopt_long has said what is wrong: one line is enough */
}

bool flush_output(void)
{
    static bool failed; /* said once */

    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    if (!failed)
        complain("standard output: %s", errno != 0 ? strerror(errno) : "cannot be written to");
    failed = true;
    return false;
}

int end_output(int status) { return flush_output() ? status : FAILED; }

uint64_t number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    uint64_t value, factor = 1;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (*end == 'K' || *end == 'k')
        factor = 1000;
    else if (*end == 'M')
        factor = 1000000;
    else if (*end == 'G')
        factor = 1000000000;
    if (factor > 1)
        end++;
    if (end == text || *end != '\0' || *text == '-' || errno != 0 || value > UINT64_MAX / factor ||
        value * factor < least || value * factor > most)
        die(USAGE, "%s: '%s' is not a number from %llu to %llu", option, text,
            (unsigned long long)least, (unsigned long long)most);
    return value * factor;
}

double positive(const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value > 0) || value > 1e12)
        die(USAGE, "%s: '%s' is not a positive number", option, text);
    return value;
}

void one_interface(const char *device)
{
    if (strcmp(device, "any") == 0)
        die(USAGE, "'any' stands for all interfaces; one is needed to send through");
}

static pktring_t *opened[2];

static void close_opened(void) { pktring_group_close(opened, 2); }

pktring_t *open_or_die(const char *device)
{
    char error[PKTRING_ERRBUF_SIZE];
    pktring_t *handle = pktring_open(device, error);

    if (handle == NULL)
        die(FAILED, "%s", error);
    if (opened[0] == NULL)
        atexit(close_opened);
    opened[opened[0] != NULL] = handle;
    return handle;
}

struct pktring_interface interface_or_die(const char *device)
{
    char error[PKTRING_ERRBUF_SIZE];
    struct pktring_interface found = {0};
    int count = pktring_interfaces(NULL, NULL, 0, error);
    struct pktring_interface *list = count > 0 ? calloc((size_t)count, sizeof *list) : NULL;

    if (list == NULL)
        die(FAILED, "%s", count < 0 ? error : "out of memory");
    /* Some may have come or gone meanwhile. */
    int now = pktring_interfaces(NULL, list, (uint32_t)count, error);
    for (int i = 0; i < count && i < now; i++)
        if (strcmp((const char *)list[i].name, device) == 0)
            found = list[i];
    free(list);
    if (found.index == 0)
        die(FAILED, "%s: the interface is gone", device);
    return found;
}

void check(pktring_t *handle, const char *device, int result)
{
    if (result < 0)
        die(FAILED, "%s: %s", device, pktring_geterr(handle));
}

void complain_of(pktring_t *handle, const char *device, int result)
{
    static const char *gone;
    bool said;

    flockfile(stderr);
    said = result == -ENODEV && gone == device;
    if (result == -ENODEV)
        gone = device;
    if (result == -ENODEV && !said)
        complain("%s: the interface is gone", device);
    else if (result == -ENETDOWN)
        complain("%s: the interface is down", device);
    else if (!said)
        complain("%s: %s", device, pktring_geterr(handle));
    funlockfile(stderr);
}

static void on_signal(int signal)
{
    (void)signal;
    stopping = 1;
    for (unsigned i = 0; i < woken_count; i++)
        pktring_breakloop(woken[i]);
}

void stop_on_signals(pktring_t *const *handles, unsigned count)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    woken = handles;
    woken_count = count;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t realtime_ns(void) { return clock_ns(CLOCK_REALTIME); }

/* ---- the line that shows progress -------------------------------------------------------- */

static uint64_t shown_ns; /* when it was last time for one */
static bool shown;

/* Columns of the terminal that stands behind standard error; 0: there is none, or one that cannot
 * clear a line. */
static unsigned columns(void)
{
    const char *kind = getenv("TERM");
    struct winsize size = {0};

    if (!isatty(STDERR_FILENO) || kind == NULL || strcmp(kind, "dumb") == 0)
        return 0;
    ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
    return size.ws_col != 0 ? size.ws_col : 80;
}

unsigned progress_room(void)
{
    unsigned width = columns();

    /* In the last column a cursor may wrap, and a ^C is echoed behind the line. */
    return width > 3 ? width - 3 : 0;
}

bool progress_due(void)
{
    uint64_t now = monotonic_ns(), before = shown_ns;

    if (before != 0 && now - before < 250000000)
        return false;
    shown_ns = now;
    return before != 0 && progress_room() > 0; /* what is over at once needs no line */
}

void progress_show(const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    flockfile(stderr);
    shown = true;
    /* At once, or it would flicker; then clear what a longer line left. */
    fprintf(stderr, "\r%.*s\033[K", (int)progress_room(), line);
    funlockfile(stderr);
}

void progress_end(void)
{
    /* After ^C there is its echo, even where no line was shown. */
    if (shown || (stopping && columns() != 0))
        fputs("\r\033[K", stderr);
    shown = false;
}
