/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * doc-qdisc-bypass INTERFACE [FRAMES]: the document's "PACKET_QDISC_BYPASS". Loads the network
 * past the queueing discipline, and shows the price: nobody on this host sees the frames go.
 */
#include <inttypes.h>
#include <pktring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sends frames to everybody on the link; returns how many the kernel took. */
static int load(pktring_t *handle, int frames)
{
    static const uint8_t header[14] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
    struct pktring_stats stats = {.size = sizeof stats};
    struct pktring_slot slot;
    int got = 0;

    for (int number = 0; number < frames && got >= 0; ) {
        got = pktring_tx_reserve(handle, &slot);
        if (got == 1) {
            memset(slot.data, 0, 60);
            memcpy(slot.data, header, sizeof header);
            got = pktring_tx_commit(handle, &slot, 60);
            number++;
        } else if (got == 0) {
            got = pktring_tx_flush(handle, 1000); /* waits out a driver that is busy */
        }
    }
    if (got < 0 || pktring_tx_flush(handle, 1000) != 0)
        fprintf(stderr, "%s\n", pktring_geterr(handle));
    pktring_stats(handle, &stats);
    return (int)stats.tx_frames;
}

int main(int argc, char **argv)
{
    struct pktring_stats seen = {.size = sizeof seen};
    char error[PKTRING_ERRBUF_SIZE];
    int frames = argc > 2 ? atoi(argv[2]) : 1000;
    pktring_t *witness, *handle;

    if (argc < 2)
        return fprintf(stderr, "Usage: %s INTERFACE [FRAMES]\n", argv[0]), 1;
    for (int bypass = 0; bypass <= 1; bypass++) {
        witness = pktring_open_capture(argv[1], 0, 0, error); /* another socket of this host */
        handle = witness != NULL ? pktring_open(argv[1], error) : NULL;
        if (handle == NULL)
            return fprintf(stderr, "%s\n", error), 1;
        if (pktring_set_qdisc_bypass(handle, bypass) != 0 || /* setsockopt(PACKET_QDISC_BYPASS) */
            pktring_set_ring(handle, PKTRING_TX, NULL) != 0 || pktring_activate(handle) != 0)
            return fprintf(stderr, "%s\n", pktring_geterr(handle)), 1;
        printf("bypass %s: %d frames sent", bypass ? "on" : "off", load(handle, frames));
        pktring_stats(witness, &seen);
        printf(", %" PRIu64 " seen by another socket\n", seen.received);
        pktring_close(handle);
        pktring_close(witness);
    }
    return 0;
}
