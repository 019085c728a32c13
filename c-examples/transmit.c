/* transmit: send numbered broadcast frames through a transmit ring.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <pktring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    static const unsigned char header[14] = {255, 255, 255, 255, 255, 255, 2, 0,
                                             0,   0,   0,   1,   0x88, 0xb5};
    char error[PKTRING_ERRBUF_SIZE];
    struct pktring_slot slot;
    pktring_t *ring = pktring_open_transmit(argc > 1 ? argv[1] : "lo", error);
    int left = argc > 2 ? atoi(argv[2]) : 1000;

    if (ring == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    for (int number = 0; number < left; number++) {
        while (pktring_tx_reserve(ring, &slot) == 0) /* full: make room */
            if (pktring_tx_flush(ring, 0) < 0 || pktring_wait(ring, PKTRING_TX, -1) < 0)
                return fprintf(stderr, "%s\n", pktring_geterr(ring)), 1;
        memset(slot.data, 0, 60);
        memcpy(slot.data, header, sizeof header);
        memcpy(slot.data + sizeof header, &number, sizeof number);
        if (pktring_tx_commit(ring, &slot, 60) < 0)
            return fprintf(stderr, "%s\n", pktring_geterr(ring)), 1;
    }
    left = pktring_tx_flush(ring, 1000); /* send the rest and wait for it */
    if (left != 0)
        fprintf(stderr, "%s\n", left < 0 ? pktring_geterr(ring) : "not everything was sent");
    return pktring_close(ring) != 0 || left != 0;
}
