/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A program whose structs are smaller or larger than the library's: nothing is written behind
 * what it knows, and everything it knows is there. */
#include <pktring.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

enum { CANARY = 64 };

static const unsigned char canary[CANARY] = {0x5a, 0xa5, 0x5a, 0xa5};

int main(void)
{
    char error[PKTRING_ERRBUF_SIZE] = "";
    struct {
        struct pktring_stats stats;
        unsigned char behind[CANARY];
    } output;
    struct {
        struct pktring_ring ring;
        unsigned char behind[CANARY];
    } both;
    pktring_t *handle = pktring_open("lo", error);

    CHECK(handle != NULL);
    memset(&both, 0, sizeof both);
    memcpy(both.behind, canary, CANARY);
    both.ring.size = sizeof both.ring;
    both.ring.block_size = 1 << 16;
    both.ring.block_count = 4;
    CHECK(pktring_set_ring(handle, PKTRING_RX, &both.ring) == 0);
    CHECK(pktring_activate(handle) == 0);
    memset(&both.ring, 0xff, sizeof both.ring);
    both.ring.size = sizeof both.ring;
    CHECK(pktring_get_ring(handle, PKTRING_RX, &both.ring) == 0);
    CHECK(both.ring.block_size == 1 << 16 && both.ring.block_count == 4);
    CHECK(memcmp(both.behind, canary, CANARY) == 0);

    memset(&output, 0xff, sizeof output);
    memcpy(output.behind, canary, CANARY);
    output.stats.size = sizeof output.stats;
    CHECK(pktring_stats(handle, &output.stats) == 0);
    CHECK(output.stats.size == sizeof output.stats);
    CHECK(output.stats.held == 0);
    CHECK(memcmp(output.behind, canary, CANARY) == 0);
    pktring_close(handle);
#ifdef FUTURE
    /* What the library does not know is left at zero by it, and refused when it is asked for. */
    CHECK(both.ring.future == 0 && output.stats.future == 0);
    handle = pktring_open("lo", error);
    both.ring.future = 1;
    CHECK(pktring_set_ring(handle, PKTRING_RX, &both.ring) == -E2BIG);
    CHECK(strstr(pktring_geterr(handle), "pktring_ring") != NULL);
    pktring_close(handle);
#endif
    return 0;
}
