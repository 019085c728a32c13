/* capture: print what arrives at an interface, until ^C.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <pktring.h>
#include <signal.h>
#include <stdio.h>

static pktring_t *ring;

static void stop(int signal) { (void)signal; pktring_breakloop(ring); }

static void print(void *user, const struct pktring_frame *frame)
{
    (void)user;
    printf("%" PRIu64 ".%09" PRIu64 " %" PRIu32 " bytes on interface %" PRId32 "\n",
           frame->timestamp / 1000000000, frame->timestamp % 1000000000, frame->len,
           frame->addr->ifindex);
}

int main(int argc, char **argv)
{
    char error[PKTRING_ERRBUF_SIZE];
    struct pktring_stats stats = {.size = sizeof stats};

    ring = pktring_open_capture(argc > 1 ? argv[1] : "any", 0, 0, error);
    if (ring == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    signal(SIGINT, stop);
    if (pktring_loop(ring, -1, print, NULL) != -ECANCELED) /* ^C */
        fprintf(stderr, "%s\n", pktring_geterr(ring));
    pktring_stats(ring, &stats);
    printf("%" PRIu64 " received, %" PRIu64 " dropped\n", stats.received, stats.dropped);
    return pktring_close(ring) != 0;
}
