/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Stands in for the library where no network is needed: hands out as many frames as it is told. */
#include <pktring.h>

int left;
static uint8_t data[64];

int pktring_next_frame(pktring_t *handle, struct pktring_frame *frame)
{
    (void)handle;
    if (left == 0)
        return 0;
    left--;
    frame->data = data;
    frame->caplen = frame->len = sizeof data;
    frame->timestamp = (uint64_t)left;
    return 1;
}

int pktring_release(pktring_t *handle, const struct pktring_frame *frame)
{
    (void)handle, (void)frame;
    return 0;
}

const char *pktring_geterr(pktring_t *handle)
{
    (void)handle;
    return "";
}

int pktring_close(pktring_t *handle)
{
    (void)handle;
    return 0;
}
