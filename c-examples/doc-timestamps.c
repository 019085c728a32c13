/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * doc-timestamps INTERFACE [FRAMES [hw]]: the document's "PACKET_TIMESTAMP". Sends frames, and
 * tells when each one went, by which clock; and the same of every frame that comes in meanwhile.
 */
#include <inttypes.h>
#include <pktring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* TP_STATUS_TS_* say what kind of timestamp it is. */
static void tell(const char *what, uint64_t timestamp, uint32_t status)
{
    const char *source = status & PKTRING_STATUS_TS_RAW_HARDWARE ? "hardware"
                         : status & PKTRING_STATUS_TS_SOFTWARE   ? "software"
                                                                 : "at the ring";

    if (timestamp == 0)
        printf("%s: no timestamp\n", what);
    else
        printf("%s %" PRIu64 ".%09" PRIu64 " (%s)\n", what, timestamp / 1000000000,
               timestamp % 1000000000, source);
}

static void received(void *user, const struct pktring_frame *frame)
{
    (void)user;
    tell("received", frame->timestamp, frame->status);
}

/* "walk through the frames to pick up the individual hw/sw timestamps" */
static int pick_up(pktring_t *handle)
{
    struct pktring_completion done[16];
    int count = pktring_tx_complete(handle, done, 16);

    for (int i = 0; i < count; i++)
        tell(done[i].error == 0 ? "sent" : "refused", done[i].timestamp, done[i].status);
    return count;
}

int main(int argc, char **argv)
{
    static const unsigned char header[14] = {255, 255, 255, 255, 255, 255, 2, 0,
                                             0,   0,   0,   1,   0x88, 0xb5};
    uint32_t source = argc > 3 ? PKTRING_TIMESTAMP_HARDWARE : PKTRING_TIMESTAMP_SOFTWARE;
    char error[PKTRING_ERRBUF_SIZE];
    struct pktring_slot slot;
    pktring_t *handle;
    int frames = argc > 2 ? atoi(argv[2]) : 3, result;

    if (argc < 2)
        return fprintf(stderr, "Usage: %s INTERFACE [FRAMES [hw]]\n", argv[0]), 1;
    handle = pktring_open(argv[1], error);
    if (handle == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    /* Both directions are asked for separately; a timestamp of a sent frame is never had unasked. */
    if (pktring_set_timestamp(handle, PKTRING_RX, source) != 0 ||
        pktring_set_timestamp(handle, PKTRING_TX, source) != 0 ||
        pktring_set_ring(handle, PKTRING_RX, NULL) != 0 ||
        pktring_set_ring(handle, PKTRING_TX, NULL) != 0 || pktring_activate(handle) != 0)
        return fprintf(stderr, "%s\n", pktring_geterr(handle)), 1;

    for (int i = 0; i < frames; i++) {
        if (pktring_tx_reserve(handle, &slot) != 1)
            break; /* i) fill the ring frames */
        memset(slot.data, 0, 60);
        memcpy(slot.data, header, sizeof header);
        pktring_tx_commit(handle, &slot, 60);
    }
    result = pktring_tx_flush(handle, 1000); /* ii) send, iii) wait */
    while (result >= 0 && pick_up(handle) > 0) /* iv) */
        ;
    if (result >= 0)
        result = pktring_dispatch(handle, 0, 100, received, NULL);
    if (result < 0)
        fprintf(stderr, "%s\n", pktring_geterr(handle));
    pktring_close(handle);
    return result < 0;
}
