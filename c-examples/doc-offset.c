/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * doc-offset INTERFACE [OFFSET]: the document's "custom offset from the beginning of the frame"
 * (PACKET_TX_HAS_OFF). The payload is written where a program wants it, aligned to 16 bytes, and
 * the Ethernet header in front of it, wherever that comes to lie.
 */
#include <inttypes.h>
#include <pktring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER = 14, PAYLOAD = 46 };

int main(int argc, char **argv)
{
    static const uint8_t header[HEADER] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
    struct pktring_ring ring = {.size = sizeof ring, .frame_size = 2048};
    char error[PKTRING_ERRBUF_SIZE];
    struct pktring_slot slot;
    pktring_t *handle;
    uint32_t offset;
    uintptr_t payload;

    if (argc < 2)
        return fprintf(stderr, "Usage: %s INTERFACE [OFFSET]\n", argv[0]), 1;
    handle = pktring_open(argv[1], error);
    if (handle == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    if (pktring_set_tx_offset(handle, 1) != 0 || /* before the ring, or it would be ignored */
        pktring_set_ring(handle, PKTRING_TX, &ring) != 0 || pktring_activate(handle) != 0 ||
        pktring_tx_reserve(handle, &slot) != 1)
        return fprintf(stderr, "%s\n", pktring_geterr(handle)), 1;

    /* The first 16-byte boundary with room for the header before it, or what was asked for. */
    payload = ((uintptr_t)slot.data + HEADER + 15) & ~(uintptr_t)15;
    offset = argc > 2 ? strtoul(argv[2], NULL, 0) : payload - HEADER - (uintptr_t)slot.data;
    if (offset > slot.capacity || slot.capacity - offset < HEADER + PAYLOAD)
        return fprintf(stderr, "an offset of %" PRIu32 " leaves no room for %d bytes\n", offset,
                       HEADER + PAYLOAD), 1;
    slot.offset = offset; /* tp_mac, which the library counts from the frame's start */
    memcpy(slot.data + offset, header, HEADER);
    memset(slot.data + offset + HEADER, 0xa5, PAYLOAD);
    if (pktring_tx_commit(handle, &slot, HEADER + PAYLOAD) != 0 ||
        pktring_tx_flush(handle, 1000) != 0)
        return fprintf(stderr, "%s\n", pktring_geterr(handle)), 1;
    printf("sent from offset %" PRIu32 ": payload at an address that ends in %x\n", offset,
           (unsigned)((uintptr_t)(slot.data + offset + HEADER) & 15));
    return pktring_close(handle);
}
