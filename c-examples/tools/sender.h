/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A transmit ring for programs that send at a rate: waits for room and for the time to send, and
 * counts what became of every frame. */
#ifndef SENDER_H
#define SENDER_H

#include <pktring.h>
#include <stdbool.h>
#include <stdint.h>

struct sender {
    pktring_t *handle;
    const char *device;
    uint64_t sent, sent_bytes, refused;
    int refusal; /* the last error that a frame was refused with; 0: none */
    bool failed; /* of which a line has told */
    uint32_t waiting; /* committed since the last flush */
};

/* Opens the interface with a transmit ring; bypass: past the queueing discipline. Ends the
 * program on failure. */
void sender_open(struct sender *sender, const char *device, bool bypass);
/* A free slot, as soon as there is one. False: interrupted, or the interface is lost (a line
 * says so, and sender->handle's ring is of no more use). */
bool sender_reserve(struct sender *sender, struct pktring_slot *slot);
/* Commits the slot with that many bytes, or counts it as refused. */
bool sender_commit(struct sender *sender, const struct pktring_slot *slot, uint32_t length);
/* Sends what was committed, then waits until due (monotonic ns; 0 or past: does not wait). */
bool sender_wait_until(struct sender *sender, uint64_t due);
/* Sends the rest and waits for all of it. */
bool sender_finish(struct sender *sender);

#endif
