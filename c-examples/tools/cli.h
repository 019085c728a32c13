/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the pktring-* programs share: how they read numbers, complain, stop and show progress. */
#ifndef CLI_H
#define CLI_H

#include <pktring.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit statuses. */
enum { DONE = 0, FAILED = 1, USAGE = 2, FAULTS_SEEN = 3 };

/* The name that stands before every line on standard error; set first thing by main(). */
extern const char *program;

/* One line "PROGRAM: ..." on standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and the end of the program. */
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For getopt_long's '?': says where help is, after the line that getopt_long has printed. */
_Noreturn void bad_usage(void);

/* Writes out standard output. False: it cannot be written to, of which one line tells. */
bool flush_output(void);
/* The same at the end of a program: the status, or FAILED. */
int end_output(int status);

/* A whole number from least to most, possibly with K, M or G (powers of 1000) behind it; ends
 * the program with a line that names the option otherwise. */
uint64_t number(const char *option, const char *text, uint64_t least, uint64_t most);
/* A positive number with a fraction. */
double positive(const char *option, const char *text);

/* Ends the program when the device is "any", through which nothing can be sent. */
void one_interface(const char *device);
/* The handle or its error text. It is closed when the program ends; a program can have two. */
pktring_t *open_or_die(const char *device);
/* What the system knows of an interface. */
struct pktring_interface interface_or_die(const char *device);
/* Ends the program with the handle's text when result is negative. */
void check(pktring_t *handle, const char *device, int result);

/* Says why a call failed: the handle's text, or when its interface is down or gone, that. What is
 * gone is said once. */
void complain_of(pktring_t *handle, const char *device, int result);

/* Set by SIGINT and SIGTERM. The handles given here are woken as well. */
extern volatile sig_atomic_t stopping;
void stop_on_signals(pktring_t *const *handles, unsigned count);

uint64_t monotonic_ns(void);
uint64_t realtime_ns(void);

/* A line on standard error that is written over by the next one, and never longer than the
 * terminal is wide; nothing unless there is a terminal. What complain() says takes it away first. */

/* Whether it is time (four times a second) and there is a terminal to show a line on. */
bool progress_due(void);
/* Columns that a line can have; 0: no terminal. */
unsigned progress_room(void);
void progress_show(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Takes the line away, and what the terminal shows of a ^C. */
void progress_end(void);

#endif
