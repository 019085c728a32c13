/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * doc-v3-walk INTERFACE: the document's "AF_PACKET TPACKET_V3 example". Walks whole blocks,
 * prints addresses and flow hash of every packet, and the counters at the end (^C).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/ip.h>
#include <pktring.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static pktring_t *handle;

static void interrupted(int signal)
{
    (void)signal;
    pktring_breakloop(handle); /* instead of a flag that poll(2) does not see */
}

static void print_address(struct in_addr address)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = address};
    char text[NI_MAXHOST] = "?";

    getnameinfo((struct sockaddr *)&name, sizeof name, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    printf("%s", text);
}

static void display(const struct pktring_frame *frame)
{
    struct iphdr ip;

    /* The protocol is the kernel's, so VLAN tags are no obstacle; lengths are not trusted. */
    if (frame->addr->protocol == htons(0x0800) &&
        frame->caplen >= (uint32_t)(frame->net - frame->mac) + sizeof ip) {
        memcpy(&ip, frame->data + (frame->net - frame->mac), sizeof ip);
        print_address((struct in_addr){ip.saddr});
        printf(" -> ");
        print_address((struct in_addr){ip.daddr});
        printf(", ");
    }
    printf("rxhash: 0x%" PRIx32 "\n", frame->rxhash);
}

static uint64_t walk_block(const struct pktring_block *block)
{
    struct pktring_iter walk;
    struct pktring_frame frame;
    uint64_t bytes = 0;

    pktring_iter_init(&walk, block);
    while (pktring_iter_next(&walk, &frame) == 1) {
        bytes += frame.caplen;
        display(&frame);
    }
    return bytes;
}

int main(int argc, char **argv)
{
    /* The ring of the document: 64 blocks of 4 MiB, handed over after 60 ms, with hashes. */
    struct pktring_ring ring = {.size = sizeof ring, .block_size = 1 << 22, .block_count = 64,
                                .frame_size = 1 << 11, .retire_timeout_ms = 60,
                                .features = PKTRING_RXHASH};
    struct pktring_stats stats = {.size = sizeof stats};
    struct pktring_block block;
    char error[PKTRING_ERRBUF_SIZE];
    uint64_t bytes = 0;
    int got = 0;

    if (argc != 2)
        return fprintf(stderr, "Usage: %s INTERFACE\n", argv[0]), 1;
    handle = pktring_open(argv[1], error);
    if (handle == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    if (pktring_set_ring(handle, PKTRING_RX, &ring) != 0 || pktring_activate(handle) != 0)
        return fprintf(stderr, "%s\n", pktring_geterr(handle)), 1;
    signal(SIGINT, interrupted);

    do {
        while ((got = pktring_next_block(handle, &block)) == 1) {
            bytes += walk_block(&block);
            pktring_release_block(handle, &block);
        }
        if (got == 0)
            got = pktring_wait(handle, PKTRING_RX, -1);
    } while (got >= 0 || got == -ENETDOWN);
    if (got != -ECANCELED)
        fprintf(stderr, "%s\n", pktring_geterr(handle));

    pktring_stats(handle, &stats);
    printf("\nReceived %" PRIu64 " packets, %" PRIu64 " bytes, %" PRIu64 " dropped, "
           "freeze_q_cnt: %" PRIu64 "\n", stats.received, bytes, stats.dropped, stats.freezes);
    pktring_close(handle);
    return got != -ECANCELED;
}
