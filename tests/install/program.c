/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What a stranger would write first, in what C and C++ have in common: a frame sent through a
 * transmit ring comes back through a receive ring. */
#include <pktring.h>

#include <stdio.h>
#include <string.h>

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

int main(void)
{
    char error[PKTRING_ERRBUF_SIZE] = "";
    struct pktring_frame frame;
    struct pktring_slot slot;
    unsigned char sent[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, 7};
    pktring_t *rx = pktring_open_capture("vb", 0, 0, error);
    pktring_t *tx = pktring_open_transmit("va", error);
    int found = 0;

    if (rx == NULL || tx == NULL)
        return fail("open", error);
    if (pktring_tx_reserve(tx, &slot) != 1)
        return fail("tx_reserve", pktring_geterr(tx));
    memcpy(slot.data, sent, sizeof sent);
    if (pktring_tx_commit(tx, &slot, sizeof sent) < 0 || pktring_tx_flush(tx, 2000) != 0)
        return fail("tx_flush", pktring_geterr(tx));
    while (!found && pktring_wait(rx, PKTRING_RX, 2000) > 0)
        while (pktring_next_frame(rx, &frame) == 1) {
            const void *part = pktring_frame_part(&frame, 0, sizeof sent);
            found += part != NULL && memcmp(part, sent, sizeof sent) == 0;
            pktring_release(rx, &frame);
        }
    pktring_close(tx);
    pktring_close(rx);
    return found == 1 ? 0 : fail("receive", "the frame did not come");
}
