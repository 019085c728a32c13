/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * port-pktring INTERFACE: prints what arrives until ^C, then what was dropped. The port of
 * port-libpcap.c, line by line. */
#include <errno.h>
#include <inttypes.h>
#include <pktring.h>
#include <signal.h>
#include <stdio.h>

static pktring_t *handle;

static void stop(int signal)
{
    (void)signal;
    pktring_breakloop(handle);
}

static void print(void *user, const struct pktring_frame *frame)
{
    (void)user;
    printf("%" PRIu32 " of %" PRIu32 " bytes", frame->caplen, frame->len);
    if (frame->caplen >= 14)
        printf(", ethertype 0x%02x%02x", frame->data[12], frame->data[13]);
    printf("\n");
}

int main(int argc, char **argv)
{
    char error[PKTRING_ERRBUF_SIZE];
    struct pktring_stats stats = {.size = sizeof stats};
    int result;

    handle = pktring_open(argc > 1 ? argv[1] : "lo", error);
    if (handle == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    pktring_set_snaplen(handle, 128);
    pktring_set_promisc(handle, 1);
    /* No timeout: pktring_ring.retire_timeout_ms has a default. */
    if (pktring_activate(handle) < 0)
        return fprintf(stderr, "%s\n", pktring_geterr(handle)), 1;
    signal(SIGINT, stop);
    result = pktring_loop(handle, -1, print, NULL);
    if (result != -ECANCELED)
        fprintf(stderr, "%s\n", pktring_geterr(handle));
    if (pktring_stats(handle, &stats) == 0)
        printf("%" PRIu64 " received, %" PRIu64 " dropped\n", stats.received, stats.dropped);
    pktring_close(handle);
    return result != -ECANCELED;
}
