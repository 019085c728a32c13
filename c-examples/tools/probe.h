/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The packets of pktring-generate: UDP over IPv4 whose payload begins with a probe, and the
 * report on those that arrived. */
#ifndef PROBE_H
#define PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { PROBE_BYTES = 40, PROBE_LEAST = 14 + 20 + 8 + PROBE_BYTES };

struct probe {
    uint64_t stream;    /* the same in all packets of one run */
    uint64_t sequence;  /* 0, 1, ...; in the last ones, that announce the end: their number */
    uint64_t timestamp; /* ns since 1970, when the packet was written */
    bool end;           /* announces the end, is none of the stream itself */
};

/* What stands before the probe. Numbers in host byte order. */
struct template {
    uint8_t source_mac[6], destination_mac[6];
    uint32_t source, destination;
    uint16_t source_port, destination_port;
    int vlan; /* -1: no tag */
};

/* Writes a packet of length bytes, at least PROBE_LEAST (and 4 for a tag). */
void probe_write(uint8_t *data, uint32_t length, const struct template *template,
                 const struct probe *probe);
/* Whether the packet carries a probe, which is then read. */
bool probe_read(const uint8_t *data, uint32_t caplen, struct probe *probe);

/* ---- what arrived ---------------------------------------------------------------------- */

enum { WINDOW = 1 << 16, BUCKETS = 64 * 32 };

struct report {
    uint64_t stream;
    bool begun, ended;
    uint64_t announced; /* packets of the stream, when it has ended */
    uint64_t arrived;   /* without duplicates */
    uint64_t duplicates, reordered, foreign, bytes;
    uint64_t next; /* highest sequence number seen, plus 1 */
    uint64_t early; /* timestamps later than their arrival: the clocks differ */
    uint64_t least, most, first_ns, last_ns;
    uint8_t seen[WINDOW / 8]; /* of the last WINDOW sequence numbers: a bit each */
    uint64_t latency[BUCKETS];
};

/* Counts a packet that arrived at a time (ns since 1970). */
void report_add(struct report *report, const struct probe *probe, uint64_t arrived_ns,
                uint32_t length);
uint64_t report_lost(const struct report *report);
/* Latency in ns that a share (0 to 1) of the packets had at most; within 1.6 %. */
uint64_t report_latency(const struct report *report, double share);
void report_print(const struct report *report, FILE *out);

#endif
