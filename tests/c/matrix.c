/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Every TPACKET version, with and without link-level headers, receiving, transmitting and both
 * at once from two threads: 100,000 frames of mixed sizes go many times round a small ring and
 * come out byte for byte and in order. The other end of the wire is a plain socket. */
#include "check.h"

#include <pktring.h>

#include <linux/if_arp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <time.h>

#ifndef TEST_FRAMES /* fewer where processors are emulated */
#define TEST_FRAMES 100000
#endif

enum { FRAMES = TEST_FRAMES, WINDOW = 64, HEADER = 14, PATIENCE_MS = 20000, LEAST_SLOTS = 32, BOTH = 3 };

/* One direction: what has arrived lets the sender go on. Nothing may be dropped for want of
 * room, because then the test could not tell it from a fault. */
struct way {
    _Atomic uint32_t arrived;
    pktring_t *handle;
    uint32_t mode;
};

/* The number behind the last frame that may be sent now, once that is more than sent. */
static uint32_t limit(struct way *way, uint32_t sent)
{
    time_t start = time(NULL);
    for (;;) {
        uint32_t most = atomic_load_explicit(&way->arrived, memory_order_acquire) + WINDOW;
        if (most > FRAMES)
            most = FRAMES;
        if (most > sent)
            return most;
        CHECK(time(NULL) - start < PATIENCE_MS / 1000);
        sched_yield();
    }
}

static void arrived(struct way *way, uint32_t count)
{
    atomic_store_explicit(&way->arrived, count, memory_order_release);
}

/* Bytes of a whole frame that a handle of this mode is not given. */
static uint32_t left_out(uint32_t mode)
{
    return mode == PKTRING_RAW ? 0 : HEADER;
}

static void *send_plainly(void *argument)
{
    struct way *way = argument;
    int fd = plain_sender("va");
    for (uint32_t sent = 0; sent < FRAMES; sent++) {
        limit(way, sent);
        plain_send(fd, sent);
    }
    close(fd);
    return NULL;
}

/* A packet socket without a ring that sees what arrives at device. */
static int plain_receiver(const char *device)
{
    struct sockaddr_ll address;
    memset(&address, 0, sizeof address);
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(TEST_ETHERTYPE);
    address.sll_ifindex = (int)if_nametoindex(device);
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    CHECK(fd >= 0);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static int plain_end; /* what receive_plainly() reads, open before the first frame is sent */

static void *receive_plainly(void *argument)
{
    struct way *way = argument;
    for (uint32_t due = 0; due < FRAMES; due++) {
        uint8_t expected[TEST_LONGEST], seen[2 * TEST_LONGEST];
        uint32_t length = test_frame(expected, due);
        struct pollfd ready = {.fd = plain_end, .events = POLLIN};
        CHECK(poll(&ready, 1, PATIENCE_MS) == 1);
        CHECK(recv(plain_end, seen, sizeof seen, 0) == (ssize_t)length);
        CHECK(memcmp(seen, expected, length) == 0);
        arrived(way, due + 1);
    }
    return NULL;
}

static void *receive(void *argument)
{
    struct way *way = argument;
    uint32_t skip = left_out(way->mode);
    for (uint32_t due = 0; due < FRAMES; due++) {
        uint8_t expected[TEST_LONGEST];
        uint32_t length = test_frame(expected, due) - skip;
        struct pktring_frame frame;
        int got;
        while ((got = pktring_next_frame(way->handle, &frame)) == 0)
            CHECK_CALL(way->handle, pktring_wait(way->handle, PKTRING_RX, PATIENCE_MS),
                       PKTRING_RX);
        CHECK_CALL(way->handle, got, 1);
        CHECK(frame.caplen == length && frame.len == length);
        CHECK(memcmp(frame.data, expected + skip, length) == 0);
        CHECK_CALL(way->handle, pktring_release(way->handle, &frame), 0);
        arrived(way, due + 1);
    }
    struct pktring_stats stats = {.size = sizeof stats};
    CHECK_CALL(way->handle, pktring_stats(way->handle, &stats), 0);
    CHECK(stats.received == FRAMES && stats.frames == FRAMES);
    CHECK(stats.dropped == 0 && stats.corrupt == 0 && stats.held == 0);
    return NULL;
}

/* Sees every frame completed, in order. Returns how many have been. */
static uint32_t complete(struct way *way, uint32_t completed)
{
    struct pktring_completion completions[16];
    int count;
    while ((count = pktring_tx_complete(way->handle, completions, 16)) > 0)
        for (int i = 0; i < count; i++)
            CHECK(completions[i].error == 0 && completions[i].user_data == completed++);
    CHECK_CALL(way->handle, count, 0);
    return completed;
}

static void *transmit(void *argument)
{
    struct way *way = argument;
    uint32_t skip = left_out(way->mode);
    uint32_t sent = 0, completed = 0;
    while (completed < FRAMES) {
        uint32_t most = sent < FRAMES ? limit(way, sent) : FRAMES;
        struct pktring_slot slot;
        int got = 1;
        /* Completions of more frames than that are not kept. */
        while (sent < most && sent - completed < LEAST_SLOTS &&
               (got = pktring_tx_reserve(way->handle, &slot)) == 1) {
            uint8_t frame[TEST_LONGEST];
            uint32_t length = test_frame(frame, sent) - skip;
            CHECK(slot.capacity >= length);
            memcpy(slot.data, frame + skip, length);
            slot.user_data = sent++;
            CHECK_CALL(way->handle, pktring_tx_commit(way->handle, &slot, length), 0);
        }
        CHECK(got >= 0);
        CHECK(pktring_tx_flush(way->handle, 0) >= 0);
        completed = complete(way, completed);
        if (sent < most)
            CHECK_CALL(way->handle, pktring_wait(way->handle, PKTRING_TX, PATIENCE_MS),
                       PKTRING_TX);
    }
    struct pktring_stats stats = {.size = sizeof stats};
    CHECK_CALL(way->handle, pktring_stats(way->handle, &stats), 0);
    CHECK(stats.tx_frames == FRAMES && stats.tx_refused == 0 && stats.tx_in_flight == 0);
    return NULL;
}

/* Gives vb the address that test_frame() sends from, which frames get that have none. */
static void set_source(void)
{
    uint8_t frame[TEST_LONGEST];
    test_frame(frame, 0);
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "vb");
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(request.ifr_hwaddr.sa_data, frame + 6, 6);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(fd >= 0);
    CHECK(ioctl(fd, SIOCSIFHWADDR, &request) == 0);
    close(fd);
}

static pktring_t *open_handle(uint32_t version, uint32_t mode, uint32_t directions)
{
    char error[PKTRING_ERRBUF_SIZE];
    pktring_t *handle = pktring_open("vb", error);
    CHECK(handle != NULL);
    CHECK_CALL(handle, pktring_set_version(handle, version), 0);
    CHECK_CALL(handle, pktring_set_mode(handle, mode), 0);
    /* Room for the frames under way even if every one has a V3 block to itself. */
    uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
    struct pktring_ring rx = {.size = sizeof rx, .block_size = page, .frame_size = 2048};
    rx.block_count = version == PKTRING_V3 ? WINDOW + 2 : WINDOW / 2 + 1;
    rx.retire_timeout_ms = version == PKTRING_V3 ? 1 : 0;
    struct pktring_ring tx = {
        .size = sizeof tx, .block_size = 2 * page, .block_count = 8, .frame_size = 2048};
    if (directions & PKTRING_RX) {
        CHECK_CALL(handle, pktring_set_protocol(handle, TEST_ETHERTYPE), 0);
        CHECK_CALL(handle, pktring_set_ring(handle, PKTRING_RX, &rx), 0);
    }
    if (directions & PKTRING_TX)
        CHECK_CALL(handle, pktring_set_ring(handle, PKTRING_TX, &tx), 0);
    CHECK_CALL(handle, pktring_activate(handle), 0);
    struct pktring_addr to;
    memset(&to, 0, sizeof to);
    to.protocol = htons(TEST_ETHERTYPE);
    to.halen = 6;
    memset(to.addr, 0xff, 6);
    CHECK_CALL(handle, pktring_set_destination(handle, &to), 0);
    return handle;
}

static void run(uint32_t version, uint32_t mode, uint32_t directions)
{
    pktring_t *handle = open_handle(version, mode, directions);
    struct way in = {.handle = handle, .mode = mode}, out = in;
    pthread_t threads[4];
    int count = 0;
    plain_end = plain_receiver("va");
    if (directions & PKTRING_RX) {
        CHECK(pthread_create(&threads[count++], NULL, receive, &in) == 0);
        CHECK(pthread_create(&threads[count++], NULL, send_plainly, &in) == 0);
    }
    if (directions & PKTRING_TX) {
        CHECK(pthread_create(&threads[count++], NULL, receive_plainly, &out) == 0);
        CHECK(pthread_create(&threads[count++], NULL, transmit, &out) == 0);
    }
    while (count > 0)
        CHECK(pthread_join(threads[--count], NULL) == 0);
    close(plain_end);
    CHECK_CALL(handle, pktring_close(handle), 0);
}

int main(void)
{
    static const uint32_t modes[] = {PKTRING_RAW, PKTRING_DGRAM};
    set_source();
    for (uint32_t version = test_first_version(); version <= PKTRING_V3; version++)
        for (int mode = 0; mode < 2; mode++)
            for (uint32_t directions = PKTRING_RX; directions <= BOTH; directions++) {
                printf("version %u mode %u directions %u\n", version, modes[mode], directions);
                fflush(stdout);
                run(version, modes[mode], directions);
            }
    return 0;
}
