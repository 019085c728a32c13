/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Writes capture files in the pcapng format (draft-ietf-opsawg-pcapng), which libpcap reads but
 * does not write. The file is readable at every moment that it is flushed, and after a write
 * that failed: what stands in it always ends with a whole block. */
#ifndef PCAPNG_H
#define PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pcapng {
    int fd;
    int error;         /* errno of the write that failed; nothing is written any more */
    uint64_t size;     /* bytes of whole blocks, those in the buffer included */
    uint64_t packets;  /* in the file, or in the buffer */
    size_t used;       /* bytes in the buffer: whole blocks */
    size_t unflushed;  /* packets among them */
    uint8_t *buffer;
};

enum pcapng_direction { PCAPNG_UNKNOWN, PCAPNG_INBOUND, PCAPNG_OUTBOUND };

struct pcapng_counters {
    uint64_t start_ns, end_ns; /* when the capture began and ended */
    uint64_t received;         /* by the interface, after the filter, dropped ones included */
    uint64_t dropped;          /* for lack of room in the ring */
    uint64_t delivered;        /* to the program */
};

/* Begins a file: a section header that names the program. 0, or an errno value. fd stays the
 * caller's. */
int pcapng_begin(struct pcapng *file, int fd, const char *application);
/* Describes the next interface; the first one is number 0. */
void pcapng_interface(struct pcapng *file, const char *name, uint16_t linktype, uint32_t snaplen,
                      const char *filter);
/* Adds a packet; timestamp in nanoseconds since 1970. */
void pcapng_packet(struct pcapng *file, uint32_t interface, uint64_t timestamp, const void *data,
                   uint32_t caplen, uint32_t len, enum pcapng_direction direction);
/* Adds what is known about the capture on an interface at its end; comment may be NULL. */
void pcapng_statistics(struct pcapng *file, uint32_t interface,
                       const struct pcapng_counters *counters, const char *comment);
/* Writes out what is buffered. 0, or the errno value of the first write that failed. After a
 * failure, file->packets are those that are in the file. */
int pcapng_flush(struct pcapng *file);
/* Flushes and frees the buffer; the same result. */
int pcapng_end(struct pcapng *file);

#endif
