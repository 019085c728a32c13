/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * doc-receive INTERFACE [VERSION [PACKETS]]: the document's "Capture process" with TPACKET_V1, V2
 * or V3 (1, 2, 3; default 3). To switch versions is one call here; what the document says of it
 * (other header, other header length, other place of sockaddr_ll) is the library's business.
 */
#include <inttypes.h>
#include <pktring.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    char error[PKTRING_ERRBUF_SIZE];
    struct pktring_frame frame;
    pktring_t *handle;
    int version = argc > 2 ? atoi(argv[2]) : 3;
    int left = argc > 3 ? atoi(argv[3]) : 10, got;

    if (argc < 2)
        return fprintf(stderr, "Usage: %s INTERFACE [VERSION [PACKETS]]\n", argv[0]), 1;
    handle = pktring_open(argv[1], error); /* [setup] socket(), setsockopt(), mmap(): */
    if (handle == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    if (pktring_set_version(handle, PKTRING_V1 + version - 1) != 0 || pktring_activate(handle) != 0)
        return fprintf(stderr, "%s\n", pktring_geterr(handle)), 1;

    while (left > 0) {
        got = pktring_next_frame(handle, &frame); /* [capture] is its status TP_STATUS_USER? */
        if (got == 0) {
            got = pktring_wait(handle, PKTRING_RX, -1); /* then poll() for it */
        } else if (got == 1) {
            printf("%" PRIu64 ".%09" PRIu64 " %" PRIu32 " of %" PRIu32 " bytes, protocol 0x%02x%02x",
                   frame.timestamp / 1000000000, frame.timestamp % 1000000000, frame.caplen,
                   frame.len, ((const uint8_t *)&frame.addr->protocol)[0],
                   ((const uint8_t *)&frame.addr->protocol)[1]);
            /* V1 cannot tell: it loses the tag of a frame that came with one. */
            if (frame.status & PKTRING_STATUS_VLAN_VALID)
                printf(", VLAN %" PRIu32, frame.vlan_tci & 0xfff);
            printf("\n");
            pktring_release(handle, &frame); /* status = TP_STATUS_KERNEL */
            left--;
        }
        if (got < 0) {
            fprintf(stderr, "%s\n", pktring_geterr(handle));
            break;
        }
    }
    pktring_close(handle); /* [shutdown] munmap(), close() */
    return left > 0;
}
