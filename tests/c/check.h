/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the programs of this directory share: a check that says where it failed, and a sender
 * that is not the library. They run between the veth interfaces va and vb. */
#ifndef CHECK_H
#define CHECK_H

#include <arpa/inet.h>
#include <net/if.h>
#include <linux/if_packet.h>
#include <pktring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

/* A call that must return this value; shows what it returned, and the handle's error text. */
#define CHECK_CALL(handle, call, expected)                                      \
    do {                                                                        \
        long returned_ = (call), expected_ = (expected);                        \
        if (returned_ != expected_) {                                           \
            fprintf(stderr, "%s:%d: %s = %ld, not %ld (%s)\n", __FILE__, __LINE__, #call, \
                    returned_, expected_, pktring_geterr(handle));              \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

/* The first version of rings that this program can have: not V1 where it has 32 bits and the kernel
 * 64. */
static inline uint32_t test_first_version(void)
{
    int length = 0; /* TPACKET_V1 */
    socklen_t size = sizeof length;
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    CHECK(getsockopt(fd, SOL_PACKET, PACKET_HDRLEN, &length, &size) == 0);
    close(fd);
    return length == (int)sizeof(struct tpacket_hdr) ? PKTRING_V1 : PKTRING_V2;
}

enum { TEST_ETHERTYPE = 0x88b5, TEST_SHORTEST = 60, TEST_LONGEST = 1514 };

/* A broadcast frame whose length and bytes follow from its number. Returns the length. */
static inline uint32_t test_frame(uint8_t *frame, uint32_t number)
{
    static const uint8_t header[14] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1,
                                       TEST_ETHERTYPE >> 8, TEST_ETHERTYPE & 0xff};
    uint32_t length = TEST_SHORTEST + number * 619 % (TEST_LONGEST - TEST_SHORTEST + 1);
    memcpy(frame, header, sizeof header);
    memcpy(frame + 14, &number, sizeof number);
    for (uint32_t i = 18; i < length; i++)
        frame[i] = (uint8_t)(number + i);
    return length;
}

/* A packet socket without a ring that sends on device. */
static inline int plain_sender(const char *device)
{
    struct sockaddr_ll address;
    memset(&address, 0, sizeof address);
    address.sll_family = AF_PACKET;
    address.sll_ifindex = (int)if_nametoindex(device);
    CHECK(address.sll_ifindex > 0);
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    CHECK(fd >= 0);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static inline void plain_send(int fd, uint32_t number)
{
    uint8_t frame[TEST_LONGEST];
    uint32_t length = test_frame(frame, number);
    CHECK(send(fd, frame, length, 0) == (ssize_t)length);
}

#endif
