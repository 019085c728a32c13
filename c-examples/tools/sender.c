/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "sender.h"

#include <errno.h>
#include <time.h>

#include "cli.h"

enum {
    BATCH = 64,              /* frames per system call */
    PATIENCE_MS = 100,       /* then look again whether to stop */
    STUCK_MS = 5000,         /* without progress at the end: the rest is given up */
    SPIN_NS = 60000,         /* about what a sleep is late */
};

void sender_open(struct sender *sender, const char *device, bool bypass)
{
    *sender = (struct sender){.handle = open_or_die(device), .device = device};
    if (bypass)
        check(sender->handle, device, pktring_set_qdisc_bypass(sender->handle, 1));
    check(sender->handle, device, pktring_set_ring(sender->handle, PKTRING_TX, NULL));
    check(sender->handle, device, pktring_activate(sender->handle));
}

static void collect(struct sender *sender)
{
    struct pktring_completion done[BATCH];
    int count;

    while ((count = pktring_tx_complete(sender->handle, done, BATCH)) > 0) {
        for (int i = 0; i < count; i++) {
            if (done[i].error == 0) {
                sender->sent++;
                sender->sent_bytes += done[i].length;
            } else {
                sender->refused++;
                sender->refusal = done[i].error;
            }
        }
    }
}

/* Whether to go on after a call that sends or waits. */
static bool survivable(struct sender *sender, int result)
{
    if (result >= 0 || result == -EAGAIN || result == -ECANCELED)
        return true;
    if (!sender->failed)
        complain_of(sender->handle, sender->device, result);
    sender->failed = true;
    return false;
}

static bool flush(struct sender *sender)
{
    int result = pktring_tx_flush(sender->handle, 0);

    sender->waiting = 0;
    collect(sender);
    return survivable(sender, result);
}

bool sender_reserve(struct sender *sender, struct pktring_slot *slot)
{
    int result;

    while ((result = pktring_tx_reserve(sender->handle, slot)) == 0) {
        if (stopping || !flush(sender) ||
            !survivable(sender, pktring_wait(sender->handle, PKTRING_TX, PATIENCE_MS)))
            return false;
        collect(sender);
    }
    return survivable(sender, result);
}

bool sender_commit(struct sender *sender, const struct pktring_slot *slot, uint32_t length)
{
    int result = pktring_tx_commit(sender->handle, slot, length);

    if (result == 0)
        return ++sender->waiting < BATCH || flush(sender);
    pktring_tx_abort(sender->handle, slot);
    sender->refused++;
    sender->refusal = result;
    return result == -EMSGSIZE || survivable(sender, result);
}

bool sender_wait_until(struct sender *sender, uint64_t due)
{
    uint64_t now = monotonic_ns(), next;
    struct timespec until;

    if (due <= now)
        return true;
    if (sender->waiting > 0 && !flush(sender))
        return false;
    while (!stopping && (now = monotonic_ns()) + SPIN_NS < due) {
        next = due - SPIN_NS;
        if (next > now + PATIENCE_MS * UINT64_C(1000000)) /* a signal may have come just before */
            next = now + PATIENCE_MS * UINT64_C(1000000);
        until = (struct timespec){(time_t)(next / 1000000000), (long)(next % 1000000000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    while (!stopping && monotonic_ns() < due)
        ;
    return true;
}

bool sender_finish(struct sender *sender)
{
    uint64_t give_up = monotonic_ns() + STUCK_MS * UINT64_C(1000000);
    int left;

    if (sender->failed)
        return false;
    do {
        left = pktring_tx_flush(sender->handle, PATIENCE_MS);
        collect(sender);
        if (!survivable(sender, left))
            return false;
    } while (left != 0 && monotonic_ns() < give_up);
    if (left != 0)
        complain("%s: not everything was sent: its queue stands still", sender->device);
    return left == 0;
}
