/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "pcapng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BUFFER = 1 << 20,
    LARGEST = 1 << 18, /* bytes of the largest block, as all readers take it */

    SECTION_HEADER = 0x0a0d0d0a,
    INTERFACE_DESCRIPTION = 1,
    INTERFACE_STATISTICS = 5,
    ENHANCED_PACKET = 6,

    END_OF_OPTIONS = 0,
    COMMENT = 1,
    SECTION_APPLICATION = 4,
    IF_NAME = 2,
    IF_RESOLUTION = 9,
    IF_FILTER = 11,
    PACKET_FLAGS = 2,
    STATS_START = 2,
    STATS_END = 3,
    STATS_RECEIVED = 4,
    STATS_DROPPED = 5,
    STATS_DELIVERED = 8,
};

/* Every number is in the writer's byte order; the section header tells which that is. */

static void put(struct pcapng *file, const void *bytes, size_t length)
{
    static const uint8_t zeros[4];
    size_t padding = -length & 3;

    memcpy(file->buffer + file->used, bytes, length);
    memcpy(file->buffer + file->used + length, zeros, padding);
    file->used += length + padding;
}

static void put16(struct pcapng *file, uint16_t a, uint16_t b)
{
    uint16_t both[2] = {a, b};
    put(file, both, sizeof both);
}

static void put32(struct pcapng *file, uint32_t value) { put(file, &value, sizeof value); }

static void put_time(struct pcapng *file, uint64_t value)
{
    put32(file, value >> 32);
    put32(file, (uint32_t)value);
}

static void put_option(struct pcapng *file, uint16_t code, const void *value, size_t length)
{
    if (length > 4096)
        length = 4096; /* the text of an endless filter */
    put16(file, code, length);
    put(file, value, length);
}

static void put_text(struct pcapng *file, uint16_t code, const char *text)
{
    if (text != NULL)
        put_option(file, code, text, strlen(text));
}

static void put_time_option(struct pcapng *file, uint16_t code, uint64_t value)
{
    put16(file, code, 8);
    put_time(file, value);
}

/* Starts a block of at most LARGEST bytes; gives its place. */
static size_t begin_block(struct pcapng *file, uint32_t type)
{
    size_t start;

    if (file->used + LARGEST > BUFFER)
        pcapng_flush(file);
    start = file->used;
    put32(file, type);
    put32(file, 0);
    return start;
}

static void end_block(struct pcapng *file, size_t start)
{
    uint32_t length = file->used + 4 - start;

    memcpy(file->buffer + start + 4, &length, sizeof length);
    put32(file, length);
    file->size += length;
}

int pcapng_begin(struct pcapng *file, int fd, const char *application)
{
    uint64_t unknown = UINT64_MAX; /* length of the section */
    size_t start;

    *file = (struct pcapng){.fd = fd, .buffer = malloc(BUFFER)};
    if (file->buffer == NULL)
        return ENOMEM;
    start = begin_block(file, SECTION_HEADER);
    put32(file, 0x1a2b3c4d);
    put16(file, 1, 0);
    put(file, &unknown, sizeof unknown);
    put_text(file, SECTION_APPLICATION, application);
    put32(file, END_OF_OPTIONS);
    end_block(file, start);
    return 0;
}

void pcapng_interface(struct pcapng *file, const char *name, uint16_t linktype, uint32_t snaplen,
                      const char *filter)
{
    static const uint8_t nanoseconds = 9;
    char expression[1024] = ""; /* the first byte is 0: what follows is a libpcap expression */
    size_t start = begin_block(file, INTERFACE_DESCRIPTION);

    put16(file, linktype, 0);
    put32(file, snaplen);
    put_text(file, IF_NAME, name);
    put_option(file, IF_RESOLUTION, &nanoseconds, 1);
    if (filter != NULL && strlen(filter) < sizeof expression - 1) {
        strcpy(expression + 1, filter);
        put_option(file, IF_FILTER, expression, 1 + strlen(filter));
    }
    put32(file, END_OF_OPTIONS);
    end_block(file, start);
}

void pcapng_packet(struct pcapng *file, uint32_t interface, uint64_t timestamp, const void *data,
                   uint32_t caplen, uint32_t len, enum pcapng_direction direction)
{
    size_t start = begin_block(file, ENHANCED_PACKET);

    if (caplen > LARGEST - 256)
        caplen = LARGEST - 256;
    put32(file, interface);
    put_time(file, timestamp);
    put32(file, caplen);
    put32(file, len);
    put(file, data, caplen);
    put16(file, PACKET_FLAGS, 4);
    put32(file, direction);
    put32(file, END_OF_OPTIONS);
    end_block(file, start);
    file->packets++;
    file->unflushed++;
}

void pcapng_statistics(struct pcapng *file, uint32_t interface,
                       const struct pcapng_counters *counters, const char *comment)
{
    size_t start = begin_block(file, INTERFACE_STATISTICS);
    const uint64_t *const values[] = {&counters->received, &counters->dropped,
                                      &counters->delivered};
    static const uint16_t codes[] = {STATS_RECEIVED, STATS_DROPPED, STATS_DELIVERED};

    put32(file, interface);
    put_time(file, counters->end_ns);
    put_time_option(file, STATS_START, counters->start_ns);
    put_time_option(file, STATS_END, counters->end_ns);
    for (int i = 0; i < 3; i++)
        put_option(file, codes[i], values[i], 8);
    put_text(file, COMMENT, comment);
    put32(file, END_OF_OPTIONS);
    end_block(file, start);
}

/* Of a buffer that was written only in part: the bytes up to the end of its last whole block,
 * and the packets that are lost behind it. */
static size_t whole_blocks(const struct pcapng *file, size_t written, uint64_t *lost)
{
    size_t at = 0, end = 0;
    uint32_t head[2];

    *lost = 0;
    while (at < file->used) {
        memcpy(head, file->buffer + at, sizeof head);
        at += head[1];
        if (at <= written)
            end = at;
        else if (head[0] == ENHANCED_PACKET)
            ++*lost;
    }
    return end;
}

int pcapng_flush(struct pcapng *file)
{
    size_t done = 0, kept;
    uint64_t lost;

    while (file->error == 0 && done < file->used) {
        ssize_t count = write(file->fd, file->buffer + done, file->used - done);
        if (count >= 0)
            done += (size_t)count;
        else if (errno != EINTR)
            file->error = errno;
    }
    if (done < file->used) { /* leave nothing half behind; a pipe cannot be helped */
        kept = whole_blocks(file, done, &lost);
        file->size -= file->used - kept;
        file->packets -= lost;
        if (done > kept && ftruncate(file->fd, (off_t)file->size) != 0)
            file->error = errno;
    }
    file->used = 0;
    file->unflushed = 0;
    return file->error;
}

int pcapng_end(struct pcapng *file)
{
    int error = pcapng_flush(file);

    free(file->buffer);
    file->buffer = NULL;
    return error;
}
