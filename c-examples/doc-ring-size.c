/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * doc-ring-size BLOCK_SIZE FRAME_SIZE BLOCKS: the document's "PACKET_MMAP buffer size calculator"
 * and its picture of the ring. Its worked example: doc-ring-size 4096 2048 4
 */
#include <inttypes.h>
#include <pktring.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS_A_ROW = 2, MOST_DRAWN = 64 };

static void rule(uint32_t cells)
{
    for (uint32_t i = 0; i < cells; i++)
        printf("+---------");
    printf("+  ");
}

/* Draws the frames of blocks first to last. */
static void draw_row(const struct pktring_ring *ring, uint32_t first, uint32_t last)
{
    uint32_t frames = ring->block_size / ring->frame_size;

    for (uint32_t block = first; block <= last; block++)
        printf("  block #%-*" PRIu32, (int)(frames * 10 - 6), block);
    printf("\n");
    for (int line = 0; line < 3; line++) {
        for (uint32_t block = first; block <= last; block++) {
            if (line != 1) {
                rule(frames);
                continue;
            }
            for (uint32_t i = 1; i <= frames; i++)
                printf("| frame %-2" PRIu32, (block - 1) * frames + i);
            printf("|  ");
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    struct pktring_ring ring = {.size = sizeof ring};
    char error[PKTRING_ERRBUF_SIZE];
    uint32_t gap;

    if (argc != 4)
        return fprintf(stderr, "Usage: %s BLOCK_SIZE FRAME_SIZE BLOCKS\n", argv[0]), 1;
    ring.block_size = strtoul(argv[1], NULL, 0);
    ring.frame_size = strtoul(argv[2], NULL, 0);
    ring.block_count = strtoul(argv[3], NULL, 0);
    if (pktring_ring_check(PKTRING_V2, PKTRING_RX, 0, &ring, error) != 0)
        return fprintf(stderr, "%s\n", error), 1;

    printf("tp_block_size = %" PRIu32 "\ntp_frame_size = %" PRIu32 "\n", ring.block_size,
           ring.frame_size);
    printf("tp_block_nr   = %" PRIu32 "\ntp_frame_nr   = %" PRIu32 "\n", ring.block_count,
           ring.frame_count);
    printf("the ring takes %" PRIu64 " bytes\n", pktring_ring_bytes(&ring));
    gap = ring.block_size % ring.frame_size;
    if (gap != 0)
        printf("%" PRIu32 " bytes behind the last frame of each block are not used\n", gap);
    if ((ring.block_size & (ring.block_size - 1)) != 0)
        printf("the kernel rounds each block up to a power of two\n");
    if (ring.frame_count > MOST_DRAWN)
        return 0;
    for (uint32_t first = 1; first <= ring.block_count; first += BLOCKS_A_ROW) {
        uint32_t last = first + BLOCKS_A_ROW - 1;

        printf("\n");
        draw_row(&ring, first, last < ring.block_count ? last : ring.block_count);
    }
    return 0;
}
