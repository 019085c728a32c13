/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * doc-transmit INTERFACE [VERSION [FRAMES]]: the document's "Transmission process" with
 * TPACKET_V1, V2 or V3 (1, 2, 3; default 3). Sends broadcast frames of a local experimental
 * protocol, and says of each that was refused why.
 */
#include <pktring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Says what became of the frames that the kernel is done with. */
static int sent(pktring_t *handle)
{
    struct pktring_completion done[64];
    int count, frames = 0;

    while ((count = pktring_tx_complete(handle, done, 64)) > 0)
        for (int i = 0; i < count; i++) {
            if (done[i].error == 0) /* TP_STATUS_AVAILABLE again */
                frames++;
            else /* TP_STATUS_WRONG_FORMAT, or the device had no room for it */
                printf("frame %d refused: %s\n", (int)done[i].user_data,
                       pktring_strerror(done[i].error));
        }
    return frames;
}

int main(int argc, char **argv)
{
    static const uint8_t header[14] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
    char error[PKTRING_ERRBUF_SIZE];
    struct pktring_slot slot;
    pktring_t *handle;
    int version = argc > 2 ? atoi(argv[2]) : 3;
    int frames = argc > 3 ? atoi(argv[3]) : 1000, done = 0, result = 0;

    if (argc < 2)
        return fprintf(stderr, "Usage: %s INTERFACE [VERSION [FRAMES]]\n", argv[0]), 1;
    handle = pktring_open(argv[1], error);
    if (handle == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    /* Only a transmit ring: the socket is bound with protocol 0 and receives nothing. */
    if (pktring_set_version(handle, PKTRING_V1 + version - 1) != 0 ||
        pktring_set_ring(handle, PKTRING_TX, NULL) != 0 || pktring_activate(handle) != 0)
        return fprintf(stderr, "%s\n", pktring_geterr(handle)), 1;

    for (int number = 0; number < frames && result >= 0; ) {
        result = pktring_tx_reserve(handle, &slot); /* a frame with TP_STATUS_AVAILABLE */
        if (result == 1) {
            memset(slot.data, 0, 60); /* the data buffer behind the header */
            memcpy(slot.data, header, sizeof header);
            memcpy(slot.data + sizeof header, &number, sizeof number);
            slot.user_data = number++;
            result = pktring_tx_commit(handle, &slot, 60); /* tp_len, TP_STATUS_SEND_REQUEST */
        } else if (result == 0) {
            result = pktring_tx_flush(handle, 0); /* send(): all that is requested */
            if (result >= 0)
                result = pktring_wait(handle, PKTRING_TX, -1); /* poll(POLLOUT) */
            done += sent(handle);
        }
    }
    if (result >= 0)
        result = pktring_tx_flush(handle, 1000); /* send() and wait for the end of transfer */
    done += sent(handle);
    if (result != 0)
        fprintf(stderr, "%s\n", result < 0 ? pktring_geterr(handle) : "some are still in flight");
    printf("%d of %d frames sent\n", done, frames);
    pktring_close(handle);
    return done != frames;
}
