/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * demo SENDER RECEIVER: sends numbered frames through a TX ring on one interface, captures
 * them through a V3 RX ring on the one at the other end of the wire, and checks every byte.
 * The sender looks at how far the receiver has come, so that neither ring nor network
 * overflows: a frame that is lost is a fault.
 *
 * demo -i INTERFACE: captures whatever arrives at a real interface. Sends nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pktring.h>

enum {
    ETHERTYPE = 0x88b5, /* for local experiments */
    SHORTEST = 60,
    LONGEST = 1514,
    HEADER = 14 + 8,   /* Ethernet header and sequence number */
    SHIFTS = 1024,     /* different payloads */
    TX_SLOTS = 256,    /* below net.core.netdev_max_backlog, so that the wire holds them */
    TX_SLOT_SIZE = 2048,
    TX_BATCH = 64,     /* frames per system call */
    RX_BLOCK_SIZE = 1 << 20,
    RX_BLOCKS = 32,
    WINDOW = 8192,     /* frames on the way: half of RX_BLOCKS even if all are LONGEST */
    POLL_MS = 100,     /* how often to look up when nothing comes */
    QUIET_MS = 2000,   /* silence after which the missing frames are lost */
};

/* What the two threads share. */
static uint64_t total = 1000000;
static const char *tx_device;
static _Atomic uint64_t received; /* by the receiver, for the sender's flow control */
static _Atomic bool sender_done;
static _Atomic bool stop;
static uint64_t sent, refused; /* the sender's result, read after it has been joined */

static pktring_t *capture; /* for the signal handler */

static uint8_t pattern[SHIFTS + LONGEST];

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "demo: %s: %s\n", what, why);
    exit(1);
}

static void check(pktring_t *handle, int result, const char *what)
{
    if (result < 0)
        fail(what, pktring_geterr(handle));
}

static void on_signal(int signal)
{
    (void)signal;
    atomic_store(&stop, true);
    if (capture)
        pktring_breakloop(capture);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the frames ------------------------------------------------------------------------ */

static void make_pattern(void)
{
    uint32_t x = 2463534242u; /* xorshift: no stretch of it looks like another */
    for (size_t i = 0; i < sizeof pattern; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        pattern[i] = (uint8_t)x;
    }
}

/* Every length there is, in an order that mixes short and long. */
static uint32_t frame_length(uint64_t sequence)
{
    return SHORTEST + (uint32_t)(sequence * 619 % (LONGEST - SHORTEST + 1));
}

static const uint8_t *payload(uint64_t sequence)
{
    return pattern + sequence % SHIFTS;
}

static const uint8_t ethernet[14] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, ETHERTYPE >> 8, ETHERTYPE & 0xff,
};

static void write_frame(uint8_t *data, uint64_t sequence, uint32_t length)
{
    memcpy(data, ethernet, sizeof ethernet);
    memcpy(data + sizeof ethernet, &sequence, sizeof sequence);
    memcpy(data + HEADER, payload(sequence), length - HEADER);
}

/* Whether the frame is, to the byte, what the sender made. */
static bool read_frame(const struct pktring_frame *frame, uint64_t *sequence)
{
    if (frame->caplen < SHORTEST || frame->caplen != frame->len)
        return false;
    memcpy(sequence, frame->data + sizeof ethernet, sizeof *sequence);
    return *sequence < total && frame->len == frame_length(*sequence) &&
           memcmp(frame->data, ethernet, sizeof ethernet) == 0 &&
           memcmp(frame->data + HEADER, payload(*sequence), frame->len - HEADER) == 0;
}

/* ---- sending --------------------------------------------------------------------------- */

static pktring_t *open_sender(const char *device)
{
    char error[PKTRING_ERRBUF_SIZE];
    pktring_t *tx = pktring_open(device, error);
    if (!tx)
        fail(device, error);
    struct pktring_ring ring = {
        .size = sizeof ring,
        .block_size = 64 << 10,
        .block_count = TX_SLOTS * TX_SLOT_SIZE / (64 << 10),
        .frame_size = TX_SLOT_SIZE,
    };
    check(tx, pktring_set_ring(tx, PKTRING_TX, &ring), device);
    check(tx, pktring_activate(tx), device);
    return tx;
}

/* Counts the frames that have left, and those that the kernel would not take. */
static void collect(pktring_t *tx)
{
    struct pktring_completion done[TX_BATCH];
    int count;
    while ((count = pktring_tx_complete(tx, done, TX_BATCH)) > 0) {
        for (int i = 0; i < count; i++) {
            if (done[i].error == 0) {
                sent++;
            } else if (refused++ == 0) {
                fprintf(stderr, "\ndemo: frame %" PRIu64 " was refused: %s\n", done[i].user_data,
                        pktring_strerror(done[i].error));
            }
        }
    }
    check(tx, count, "completions");
}

static void wait_for_receiver(uint64_t sequence)
{
    const struct timespec pause = {.tv_nsec = 100000};
    while (sequence - atomic_load(&received) >= WINDOW && !atomic_load(&stop))
        nanosleep(&pause, NULL);
}

static void *send_all(void *unused)
{
    (void)unused;
    pktring_t *tx = open_sender(tx_device);
    uint64_t sequence = 0;
    while (sequence < total && !atomic_load(&stop)) {
        struct pktring_slot slot;
        int result = 0;
        /* Completions are kept for as many frames as there are slots. */
        if (sequence - sent - refused < TX_SLOTS)
            result = pktring_tx_reserve(tx, &slot);
        check(tx, result, "reserve");
        if (result == 0) { /* the ring is full */
            check(tx, pktring_tx_flush(tx, 100), "flush");
            collect(tx);
            continue;
        }
        uint32_t length = frame_length(sequence);
        write_frame(slot.data, sequence, length);
        slot.user_data = sequence;
        check(tx, pktring_tx_commit(tx, &slot, length), "commit");
        if (++sequence % TX_BATCH == 0) {
            check(tx, pktring_tx_flush(tx, 0), "flush");
            collect(tx);
            wait_for_receiver(sequence);
        }
    }
    check(tx, pktring_tx_flush(tx, QUIET_MS), "flush");
    collect(tx);
    int left = pktring_close(tx);
    if (left > 0)
        fprintf(stderr, "\ndemo: %d frames were never sent\n", left);
    atomic_store(&sender_done, true);
    return NULL;
}

/* ---- receiving ------------------------------------------------------------------------- */

/* What came, as the sequence numbers tell it. */
struct tally {
    uint64_t frames, bytes, missing, reordered, corrupt;
    uint64_t next; /* the sequence number that is due */
};

static void count_frame(struct tally *tally, const struct pktring_frame *frame)
{
    uint64_t sequence = 0;
    tally->frames++;
    tally->bytes += frame->len;
    if (!read_frame(frame, &sequence)) {
        tally->corrupt++;
        tally->next++; /* it took some frame's place */
    } else if (sequence < tally->next) {
        tally->reordered++;
        tally->missing -= tally->missing > 0; /* late, not lost */
    } else {
        tally->missing += sequence - tally->next;
        tally->next = sequence + 1;
    }
}

static pktring_t *open_receiver(const char *device, uint32_t protocol)
{
    char error[PKTRING_ERRBUF_SIZE];
    pktring_t *rx = pktring_open(device, error);
    if (!rx)
        fail(device, error);
    struct pktring_ring ring = {
        .size = sizeof ring,
        .block_size = RX_BLOCK_SIZE,
        .block_count = RX_BLOCKS,
        .retire_timeout_ms = 10,
    };
    check(rx, pktring_set_version(rx, PKTRING_V3), device);
    if (protocol)
        check(rx, pktring_set_protocol(rx, protocol), device);
    check(rx, pktring_set_ring(rx, PKTRING_RX, &ring), device);
    check(rx, pktring_activate(rx), device);
    return rx;
}

static struct pktring_stats statistics(pktring_t *rx)
{
    struct pktring_stats stats = {.size = sizeof stats};
    check(rx, pktring_stats(rx, &stats), "statistics");
    return stats;
}

/* Live figures on standard error: one line that changes on a terminal, one a second else. */
struct progress {
    double start, last;
    uint64_t frames; /* at the last report */
    bool terminal;
};

static struct progress progress_start(void)
{
    double t = now();
    return (struct progress){.start = t, .last = t, .terminal = isatty(STDERR_FILENO)};
}

static void progress_show(struct progress *progress, pktring_t *rx, uint64_t frames)
{
    double t = now(), interval = t - progress->last;
    if (interval < (progress->terminal ? 0.1 : 1.0))
        return;
    fprintf(stderr, "%s%10" PRIu64 " frames  %9.0f frames/s  %" PRIu64 " dropped%s",
            progress->terminal ? "\r" : "", frames,
            (double)(frames - progress->frames) / interval, statistics(rx).dropped,
            progress->terminal ? "  " : "\n");
    progress->last = t;
    progress->frames = frames;
}

static void progress_end(const struct progress *progress)
{
    if (progress->terminal)
        fputc('\n', stderr);
}

/* The next frame; false when there was none for timeout_ms or somebody said stop. */
static bool next_frame(pktring_t *rx, struct pktring_frame *frame, int timeout_ms)
{
    int result;
    while ((result = pktring_next_frame(rx, frame)) == 0) {
        result = pktring_wait(rx, PKTRING_RX, timeout_ms);
        if (result <= 0)
            break;
    }
    if (result == -ECANCELED)
        return false;
    check(rx, result, "receive");
    return result > 0;
}

static struct tally receive_all(pktring_t *rx, struct progress *progress)
{
    struct tally tally = {0};
    struct pktring_frame frame;
    int quiet_ms = 0;
    while (tally.next < total && !atomic_load(&stop)) {
        if (next_frame(rx, &frame, POLL_MS)) {
            count_frame(&tally, &frame);
            check(rx, pktring_release(rx, &frame), "release");
            atomic_store_explicit(&received, tally.next, memory_order_release);
            quiet_ms = 0;
            if (tally.frames % 1024 != 0)
                continue;
        } else if (atomic_load(&sender_done) && (quiet_ms += POLL_MS) >= QUIET_MS) {
            break;
        }
        progress_show(progress, rx, tally.frames);
    }
    return tally;
}

static int run_pair(const char *rx_device)
{
    make_pattern();
    printf("sending %" PRIu64 " frames of %d to %d bytes from %s, capturing on %s\n", total,
           SHORTEST, LONGEST, tx_device, rx_device);
    fflush(stdout);
    pktring_t *rx = capture = open_receiver(rx_device, ETHERTYPE);
    pthread_t sender;
    if (pthread_create(&sender, NULL, send_all, NULL) != 0)
        fail("thread", "cannot be made");
    struct progress progress = progress_start();
    struct tally tally = receive_all(rx, &progress);
    double seconds = now() - progress.start;
    atomic_store(&stop, true);
    pthread_join(sender, NULL);
    progress_end(&progress);
    struct pktring_stats stats = statistics(rx);
    capture = NULL;
    pktring_close(rx);

    if (sent > tally.next)
        tally.missing += sent - tally.next;
    uint64_t wrong = tally.corrupt + tally.reordered;
    printf("%.2f s, %.0f frames/s, %.0f Mbit/s; %" PRIu64 " refused, %" PRIu64
           " out of order, %" PRIu64 " changed\n",
           seconds, (double)tally.frames / seconds, (double)tally.bytes * 8 / seconds / 1e6,
           refused, tally.reordered, tally.corrupt);
    printf("demo: sent %" PRIu64 " received %" PRIu64 " lost %" PRIu64 " corrupt %" PRIu64
           " dropped %" PRIu64 "\n",
           sent, tally.frames, tally.missing, wrong, stats.dropped);
    if (tally.next < total && sent < total)
        fprintf(stderr, "demo: ended before all frames were sent\n");
    bool good = sent == total && tally.frames == total && tally.missing == 0 && wrong == 0 &&
                refused == 0 && stats.dropped == 0;
    return good ? 0 : 1;
}

static int run_capture(const char *device, double seconds)
{
    pktring_t *rx = capture = open_receiver(device, 0);
    printf("capturing on %s for %.0f s\n", device, seconds);
    fflush(stdout);
    struct progress progress = progress_start();
    struct pktring_frame frame;
    uint64_t frames = 0, bytes = 0;
    while (now() - progress.start < seconds && !atomic_load(&stop)) {
        if (next_frame(rx, &frame, POLL_MS)) {
            frames++;
            bytes += frame.len;
            check(rx, pktring_release(rx, &frame), "release");
            if (frames % 64 != 0)
                continue;
        }
        progress_show(&progress, rx, frames);
    }
    double took = now() - progress.start;
    progress_end(&progress);
    struct pktring_stats stats = statistics(rx);
    capture = NULL;
    pktring_close(rx);
    printf("%.2f s, %.0f frames/s, %.3f Mbit/s\n", took, (double)frames / took,
           (double)bytes * 8 / took / 1e6);
    printf("demo: captured %" PRIu64 " frames %" PRIu64 " bytes dropped %" PRIu64 "\n", frames,
           bytes, stats.dropped);
    return 0;
}

static _Noreturn void usage(void)
{
    fputs("usage: demo [-n FRAMES] SENDER RECEIVER   send and capture over a pair\n"
          "       demo [-s SECONDS] -i INTERFACE    capture only\n",
          stderr);
    exit(2);
}

static double number(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 1))
        usage();
    return value;
}

int main(int argc, char **argv)
{
    const char *interface = NULL;
    double seconds = 10;
    int option;
    while ((option = getopt(argc, argv, "n:s:i:")) != -1) {
        switch (option) {
        case 'n': total = (uint64_t)number(optarg); break;
        case 's': seconds = number(optarg); break;
        case 'i': interface = optarg; break;
        default: usage();
        }
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (interface && optind == argc)
        return run_capture(interface, seconds);
    if (interface || optind + 2 != argc)
        usage();
    tx_device = argv[optind];
    return run_pair(argv[optind + 1]);
}
