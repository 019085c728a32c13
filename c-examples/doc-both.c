/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * doc-both INTERFACE: "To use one socket for capture and transmission". One handle, both rings in
 * one mapping; every frame of the experimental protocol 0x88b5 that comes in is sent back with
 * its addresses exchanged, until ^C.
 */
#include <errno.h>
#include <inttypes.h>
#include <pktring.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static pktring_t *handle;

static void interrupted(int signal)
{
    (void)signal;
    pktring_breakloop(handle);
}

/* Sends the frame back through the other ring of the same handle. */
static void send_back(void *user, const struct pktring_frame *frame)
{
    uint64_t *count = user;
    struct pktring_slot slot;

    if (frame->addr->pkttype == 4 /* PACKET_OUTGOING: by other sockets of this host */)
        return;
    if (pktring_tx_reserve(handle, &slot) != 1 || frame->caplen > slot.capacity)
        return; /* full: this one is lost, as on any busy host */
    memcpy(slot.data, frame->data, frame->caplen);
    memcpy(slot.data, frame->data + 6, 6);
    memcpy(slot.data + 6, frame->data, 6);
    slot.data[6] &= 0xfe; /* a broadcast address cannot be a sender's */
    if (pktring_tx_commit(handle, &slot, frame->caplen) == 0)
        ++*count;
    else
        pktring_tx_abort(handle, &slot);
}

int main(int argc, char **argv)
{
    char error[PKTRING_ERRBUF_SIZE];
    uint64_t count = 0;
    int result;

    if (argc != 2)
        return fprintf(stderr, "Usage: %s INTERFACE\n", argv[0]), 1;
    handle = pktring_open(argv[1], error);
    if (handle == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    if (pktring_set_version(handle, PKTRING_V2) != 0 || /* no waiting for a block to fill */
        pktring_set_protocol(handle, 0x88b5) != 0 ||
        pktring_set_ring(handle, PKTRING_RX, NULL) != 0 ||
        pktring_set_ring(handle, PKTRING_TX, NULL) != 0 || pktring_activate(handle) != 0)
        return fprintf(stderr, "%s\n", pktring_geterr(handle)), 1;
    signal(SIGINT, interrupted);

    do { /* what is there, then one send(2) for all of it */
        result = pktring_dispatch(handle, 64, -1, send_back, &count);
        if (result > 0)
            result = pktring_tx_flush(handle, 0);
    } while (result >= 0 || result == -EAGAIN);
    if (result != -ECANCELED)
        fprintf(stderr, "%s\n", pktring_geterr(handle));
    printf("%" PRIu64 " frames sent back\n", count);
    pktring_close(handle);
    return result != -ECANCELED;
}
