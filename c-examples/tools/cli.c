/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *program = "pktring";
volatile sig_atomic_t stopping;

static pktring_t *const *woken;
static unsigned woken_count;

static void say(const char *format, va_list arguments)
{
    fflush(stdout);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
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

pktring_t *open_or_die(const char *device)
{
    char error[PKTRING_ERRBUF_SIZE];
    pktring_t *handle = pktring_open(device, error);

    if (handle == NULL)
        die(FAILED, "%s", error);
    return handle;
}

void check(pktring_t *handle, const char *device, int result)
{
    if (result >= 0)
        return;
    complain("%s: %s", device, pktring_geterr(handle));
    pktring_close(handle);
    exit(FAILED);
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

bool ticker_due(struct ticker *ticker)
{
    static int terminal = -1;
    uint64_t now;

    if (terminal < 0)
        terminal = isatty(STDERR_FILENO);
    if (!terminal)
        return false;
    now = monotonic_ns();
    if (now - ticker->last_ns < 250000000)
        return false;
    ticker->last_ns = now;
    return true;
}

void ticker_show(struct ticker *ticker, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputc('\r', stderr);
    vfprintf(stderr, format, arguments);
    fputs("\033[K", stderr); /* clear what a longer line left */
    va_end(arguments);
    ticker->shown = true;
}

void ticker_end(struct ticker *ticker)
{
    if (ticker->shown)
        fputs("\r\033[K", stderr);
    ticker->shown = false;
}
