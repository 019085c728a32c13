/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * pktring-bridge: makes one wire of two interfaces. What comes in at one goes out at the other,
 * from a receive ring to a transmit ring, in a thread for each direction.
 *
 * Frames carry virtio_net headers on their way: hosts leave checksums and the cutting of large
 * segments to the interface, which a bridge in between would break otherwise.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/cli.h"

static const char help[] =
    "Usage: pktring-bridge [OPTION]... INTERFACE INTERFACE\n"
    "Sends what comes in at one interface out at the other, both ways, until ^C.\n"
    "\n"
    "  -d, --duration SECONDS  end after that time\n"
    "  -l, --latency MS        pass frames on after that time at most (1)\n"
    "  -q, --quiet             no statistics\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Exit status: 0 ended as asked for; 1 failure; 2 bad command line.\n";

enum {
    VNET_HEADER = 10,
    SLOT = 68 << 10, /* a 64 KiB segment with its headers, in whole pages */
    SLOTS = 256,
    FULL_MS = 20, /* how long a frame waits for room; longer, and it is dropped */
    LOOK_MS = 100,
};

static struct {
    const char *device[2];
    uint64_t duration_ns;
    uint32_t retire_ms;
    bool quiet;
} set = {.retire_ms = 1};

/* One direction. The counters are read by the main thread. */
struct way {
    pktring_t *in, *out;
    const char *from, *to;
    uint32_t mtu; /* of to */
    _Atomic uint64_t passed, bytes, dropped;
    _Atomic uint64_t too_long; /* among the dropped */
    _Atomic int refusal; /* the last error that one of them was refused with; 0: none */
    _Atomic bool failed;
};

static pktring_t *handles[2];

static void add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

/* A slot to send from, waiting a little where the ring is full. */
static bool reserve(struct way *way, struct pktring_slot *slot)
{
    int result = pktring_tx_reserve(way->out, slot);

    if (result != 0)
        return result == 1;
    pktring_tx_flush(way->out, 0);
    pktring_wait(way->out, PKTRING_TX, FULL_MS);
    return pktring_tx_reserve(way->out, slot) == 1;
}

/* Whether the other interface can take the frame, or the segments that it is cut into: the
 * kernel does not look where there is a virtio_net header. */
static bool fits(const struct way *way, const struct pktring_frame *frame,
                 const struct pktring_vnet *header, uint32_t capacity)
{
    enum { ETHERNET = 14, TAG = 4, IP_AND_UDP = 28 };
    uint32_t longest = header->gso_type == PKTRING_VNET_GSO_NONE
                           ? frame->caplen
                           : (uint32_t)header->gso_size + ETHERNET + IP_AND_UDP;

    if (frame->caplen >= ETHERNET && (memcmp(frame->data + 12, "\x81\x00", 2) == 0 ||
                                      memcmp(frame->data + 12, "\x88\xa8", 2) == 0))
        longest -= TAG; /* for which there is room beside the MTU */
    return frame->caplen == frame->len && frame->caplen + VNET_HEADER <= capacity &&
           longest <= way->mtu + ETHERNET;
}

static void pass(void *user, const struct pktring_frame *taken)
{
    struct way *way = user;
    struct pktring_frame frame = *taken;
    struct pktring_vnet header;
    struct pktring_slot slot;
    int tagged, result;

    if (pktring_frame_vnet(way->in, &frame, &header) != 0 || !reserve(way, &slot)) {
        add(&way->dropped, 1);
        return;
    }
    tagged = pktring_vlan_reinsert(way->in, &frame);
    if (tagged == 1) { /* both are counted from the start of the frame */
        header.csum_start += header.flags & PKTRING_VNET_NEEDS_CSUM ? 4 : 0;
        header.hdr_len += header.hdr_len != 0 ? 4 : 0;
    }
    result = -EMSGSIZE;
    if (fits(way, &frame, &header, slot.capacity)) {
        memcpy(slot.data, &header, VNET_HEADER);
        memcpy(slot.data + VNET_HEADER, frame.data, frame.caplen);
        result = pktring_tx_commit(way->out, &slot, frame.caplen + VNET_HEADER);
    }
    if (result == 0) {
        add(&way->passed, 1);
        add(&way->bytes, frame.caplen);
    } else {
        pktring_tx_abort(way->out, &slot);
        add(&way->dropped, 1);
        add(&way->too_long, result == -EMSGSIZE);
    }
}

/* Moves frames that were refused from passed to dropped. */
static void collect(struct way *way)
{
    struct pktring_completion done[64];
    int count;

    while ((count = pktring_tx_complete(way->out, done, 64)) > 0)
        for (int i = 0; i < count; i++)
            if (done[i].error != 0) {
                atomic_fetch_sub(&way->passed, 1);
                atomic_fetch_sub(&way->bytes, done[i].length - VNET_HEADER);
                way->refusal = done[i].error;
                add(&way->dropped, 1);
            }
}

/* Whether an error is one to go on after. */
static bool survivable(const char *device, pktring_t *handle, int result)
{
    if (result >= 0 || result == -ECANCELED || result == -EBADMSG || result == -EAGAIN)
        return true;
    if (result != -ENETDOWN || !set.quiet)
        complain_of(handle, device, result);
    return result == -ENETDOWN; /* it goes on when the interface comes up */
}

static void *run(void *user)
{
    struct way *way = user;
    int result, sent = 0;
    bool down = false;

    while (!stopping) {
        result = pktring_dispatch(way->in, 64, LOOK_MS, pass, way);
        if (!survivable(way->from, way->in, result))
            break;
        sent = pktring_tx_flush(way->out, 0); /* one system call for all of them */
        if (sent == -ENETDOWN && down)
            continue; /* said before */
        down = sent == -ENETDOWN;
        if (!survivable(way->to, way->out, sent))
            break;
        collect(way);
    }
    if (!stopping) {
        way->failed = true;
        stopping = 1;
    }
    pktring_tx_flush(way->out, LOOK_MS);
    collect(way);
    return NULL;
}

static pktring_t *open_end(const char *device)
{
    pktring_t *handle = open_or_die(device);
    /* Blocks are handed over often, hardly filled: it takes many of them to hold a burst. */
    struct pktring_ring rx = {.size = sizeof rx, .block_size = 128 << 10, .block_count = 512,
                              .retire_timeout_ms = set.retire_ms};
    struct pktring_ring tx = {.size = sizeof tx, .block_size = SLOT, .block_count = SLOTS,
                              .frame_size = SLOT};

    /* Its own frames a handle does not see; those of others on this host stay here, too. */
    check(handle, device, pktring_set_ignore_outgoing(handle, 1));
    check(handle, device, pktring_set_promisc(handle, 1));
    check(handle, device, pktring_set_vnet_header(handle, VNET_HEADER));
    check(handle, device, pktring_set_ring(handle, PKTRING_RX, &rx));
    check(handle, device, pktring_set_ring(handle, PKTRING_TX, &tx));
    check(handle, device, pktring_activate(handle));
    if (pktring_linktype(handle) != 1)
        die(FAILED, "%s: not an Ethernet interface", device);
    return handle;
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"duration", 1, NULL, 'd'}, {"latency", 1, NULL, 'l'}, {"quiet", 0, NULL, 'q'},
        {"help", 0, NULL, 'h'},     {"version", 0, NULL, 'V'}, {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "d:l:qhV", options, NULL)) != -1) {
        switch (option) {
        case 'd': set.duration_ns = positive("--duration", optarg) * 1e9; break;
        case 'l': set.retire_ms = number("--latency", optarg, 1, 1000); break;
        case 'q': set.quiet = true; break;
        case 'h': fputs(help, stdout); exit(DONE);
        case 'V': printf("pktring-bridge (libpktring %s)\n", pktring_version()); exit(DONE);
        default: bad_usage();
        }
    }
    if (argc - optind != 2)
        die(USAGE, "two interfaces are needed; see --help");
    set.device[0] = argv[optind];
    set.device[1] = argv[optind + 1];
    one_interface(set.device[0]);
    one_interface(set.device[1]);
    if (strcmp(set.device[0], set.device[1]) == 0)
        die(USAGE, "the two interfaces are the same");
}

static void show(const struct way *ways)
{
    progress_show("%s > %s %" PRIu64 " (%" PRIu64 " dropped)  %s > %s %" PRIu64 " (%" PRIu64 " dropped)",
                ways[0].from, ways[0].to, ways[0].passed, ways[0].dropped, ways[1].from,
                ways[1].to, ways[1].passed, ways[1].dropped);
}

static void report(struct way *way)
{
    struct pktring_stats stats = {.size = sizeof stats};

    pktring_stats(way->in, &stats);
    if (!set.quiet)
        printf("%s > %s: %" PRIu64 " frames passed, %" PRIu64 " bytes, %" PRIu64
               " dropped on the way, %" PRIu64 " before\n",
               way->from, way->to, way->passed, way->bytes, way->dropped, stats.dropped);
    if (way->too_long > 0)
        complain("%s > %s: %" PRIu64 " frames were too long: %s takes %" PRIu32
                 " bytes, and segments have to be cut from 64 KiB at most",
                 way->from, way->to, way->too_long, way->to, way->mtu + 14);
    if (way->refusal != 0)
        complain("%s > %s: some frames were refused, the last one with: %s", way->from, way->to,
                 pktring_strerror(way->refusal));
}

/* Hosts behind the one with the greater MTU would wonder why only small packets get through. */
static void warn_of_mtus(void)
{
    uint32_t mtu[2] = {interface_or_die(set.device[0]).mtu, interface_or_die(set.device[1]).mtu};
    int less = mtu[1] < mtu[0];

    if (mtu[0] != mtu[1] && !set.quiet)
        complain("%s takes frames of %" PRIu32 " bytes, %s of %" PRIu32 ": longer ones do not pass",
                 set.device[!less], mtu[!less] + 14, set.device[less], mtu[less] + 14);
}

int main(int argc, char **argv)
{
    static const struct timespec instant = {0, 20000000};
    static struct way ways[2];
    pthread_t threads[2];
    uint64_t begun;
    bool failed = false;

    program = "pktring-bridge";
    parse(argc, argv);
    handles[0] = open_end(set.device[0]);
    handles[1] = open_end(set.device[1]);
    stop_on_signals(handles, 2);
    if (!set.quiet)
        complain("passing frames between %s and %s", set.device[0], set.device[1]);
    warn_of_mtus();
    begun = monotonic_ns();
    for (int i = 0; i < 2; i++) {
        ways[i].in = handles[i];
        ways[i].out = handles[!i];
        ways[i].from = set.device[i];
        ways[i].to = set.device[!i];
        ways[i].mtu = interface_or_die(ways[i].to).mtu;
        if (pthread_create(&threads[i], NULL, run, &ways[i]) != 0)
            die(FAILED, "cannot start a thread");
    }
    while (!stopping) {
        nanosleep(&instant, NULL);
        if (set.duration_ns != 0 && monotonic_ns() - begun >= set.duration_ns)
            stopping = 1;
        if (!set.quiet && progress_due())
            show(ways);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    progress_end();
    for (int i = 0; i < 2; i++) {
        report(&ways[i]);
        failed = failed || ways[i].failed;
    }
    return end_output(failed ? FAILED : DONE);
}
