/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Frames sent by a plain socket come out of every version's ring whole and in order, around
 * the ring many times. */
#include "check.h"

#include <pktring.h>

#ifndef TEST_FRAMES /* fewer where processors are emulated */
#define TEST_FRAMES 20000
#endif

enum { FRAMES = TEST_FRAMES, AT_ONCE = 200 };

static int interface; /* the number of vb */

static void expect(pktring_t *handle, uint32_t number)
{
    uint8_t sent[TEST_LONGEST];
    uint32_t length = test_frame(sent, number);
    struct pktring_frame frame;
    int got;
    while ((got = pktring_next_frame(handle, &frame)) == 0)
        CHECK_CALL(handle, pktring_wait(handle, PKTRING_RX, 2000), PKTRING_RX);
    CHECK_CALL(handle, got, 1);
    CHECK(frame.len == length);
    CHECK(frame.caplen == length);
    CHECK(memcmp(frame.data, sent, length) == 0);
    CHECK(ntohs(frame.addr->protocol) == TEST_ETHERTYPE);
    CHECK(frame.addr->ifindex == interface);
    CHECK_CALL(handle, pktring_release(handle, &frame), 0);
    CHECK(pktring_release(handle, &frame) < 0);
}

static void receive(uint32_t version)
{
    char error[PKTRING_ERRBUF_SIZE];
    pktring_t *handle = pktring_open("vb", error);
    CHECK(handle != NULL);
    /* However slowly the frames of one go are sent, their V3 blocks do not fill the ring. */
    struct pktring_ring ring = {
        .size = sizeof ring, .block_size = 1 << 16, .block_count = 64, .frame_size = 2048};
    if (version == PKTRING_V3)
        ring.retire_timeout_ms = 10;
    CHECK_CALL(handle, pktring_set_version(handle, version), 0);
    CHECK_CALL(handle, pktring_set_ring(handle, PKTRING_RX, &ring), 0);
    CHECK_CALL(handle, pktring_activate(handle), 0);
    CHECK_CALL(handle, pktring_wait(handle, PKTRING_RX, 10), 0);

    int sender = plain_sender("va");
    for (uint32_t number = 0; number < FRAMES; number += AT_ONCE) {
        for (uint32_t i = 0; i < AT_ONCE; i++)
            plain_send(sender, number + i);
        for (uint32_t i = 0; i < AT_ONCE; i++)
            expect(handle, number + i);
    }
    close(sender);

    struct pktring_stats stats = {.size = sizeof stats};
    CHECK_CALL(handle, pktring_stats(handle, &stats), 0);
    CHECK(stats.received == FRAMES);
    CHECK(stats.frames == FRAMES);
    CHECK(stats.dropped == 0);
    CHECK_CALL(handle, pktring_close(handle), 0);
}

int main(void)
{
    interface = (int)if_nametoindex("vb");
    for (uint32_t version = test_first_version(); version <= PKTRING_V3; version++)
        receive(version);
    return 0;
}
