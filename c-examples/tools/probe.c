/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "probe.h"

#include <inttypes.h>
#include <string.h>

static const uint8_t magic[8] = {'p', 'k', 't', 'r', 'i', 'n', 'g', 1};

static uint8_t *put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
    return put16(put16(at, value >> 16), value);
}

static uint8_t *put64(uint8_t *at, uint64_t value)
{
    return put32(put32(at, (uint32_t)(value >> 32)), (uint32_t)value);
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return value;
}

static unsigned get16(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

static uint16_t ip_checksum(const uint8_t *header)
{
    uint32_t sum = 0;

    for (int i = 0; i < 20; i += 2)
        sum += get16(header + i);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

void probe_write(uint8_t *data, uint32_t length, const struct template *template,
                 const struct probe *probe)
{
    uint8_t *at = data, *ip;

    memcpy(at, template->destination_mac, 6);
    memcpy(at + 6, template->source_mac, 6);
    at += 12;
    if (template->vlan >= 0)
        at = put16(put16(at, 0x8100), (uint32_t)template->vlan);
    ip = at = put16(at, 0x0800);
    at = put16(at, 0x4500);
    at = put16(at, length - (uint32_t)(ip - data));
    at = put32(at, 0x4000); /* one packet, never cut */
    at = put32(at, 0x40110000); /* time to live 64, UDP */
    at = put32(at, template->source);
    at = put32(at, template->destination);
    put16(ip + 10, ip_checksum(ip));
    at = put16(at, template->source_port);
    at = put16(at, template->destination_port);
    at = put32(at, (length - (uint32_t)(ip - data) - 20) << 16); /* no checksum */
    memcpy(at, magic, sizeof magic);
    at = put64(at + sizeof magic, probe->stream);
    at = put64(at, probe->sequence);
    at = put64(at, probe->timestamp);
    at = put64(at, probe->end);
    memset(at, 0, length - (size_t)(at - data));
}

bool probe_read(const uint8_t *data, uint32_t caplen, struct probe *probe)
{
    uint32_t at = 12;

    while (caplen >= at + 4 && (get16(data + at) == 0x8100 || get16(data + at) == 0x88a8))
        at += 4;
    if (caplen < at + 2 + 20 + 8 + PROBE_BYTES || get16(data + at) != 0x0800 ||
        data[at + 2] != 0x45 || data[at + 2 + 9] != 17)
        return false;
    at += 2 + 20 + 8;
    if (memcmp(data + at, magic, sizeof magic) != 0)
        return false;
    probe->stream = get64(data + at + 8);
    probe->sequence = get64(data + at + 16);
    probe->timestamp = get64(data + at + 24);
    probe->end = get64(data + at + 32) != 0;
    return true;
}

/* ---- what arrived ---------------------------------------------------------------------- */

/* 32 buckets for each power of two: their width is a 32nd of what they hold. */
static unsigned bucket(uint64_t value)
{
    unsigned shift = 0;

    while (value >> shift >= 64)
        shift++;
    return shift * 32 + (unsigned)(value >> shift);
}

static uint64_t bucket_middle(unsigned index)
{
    unsigned shift = index < 64 ? 0 : index / 32 - 1;
    uint64_t low = (uint64_t)(index - shift * 32) << shift;

    return low + ((UINT64_C(1) << shift) >> 1);
}

/* Notes that a sequence number was seen; whether it was before. What is older than the window
 * is taken for new. */
static bool note(struct report *report, uint64_t sequence)
{
    uint64_t i;
    uint8_t *byte, bit;
    bool before;

    if (sequence >= report->next) {
        if (sequence - report->next >= WINDOW)
            memset(report->seen, 0, sizeof report->seen);
        else
            for (i = report->next; i <= sequence; i++)
                report->seen[i % WINDOW / 8] &= (uint8_t)~(1u << i % 8);
        report->next = sequence + 1;
    } else if (report->next - sequence > WINDOW) {
        return false;
    }
    byte = &report->seen[sequence % WINDOW / 8];
    bit = (uint8_t)(1u << sequence % 8);
    before = (*byte & bit) != 0;
    *byte |= bit;
    return before;
}

static void add_latency(struct report *report, uint64_t sent_ns, uint64_t arrived_ns)
{
    uint64_t latency = arrived_ns > sent_ns ? arrived_ns - sent_ns : 0;

    if (arrived_ns < sent_ns)
        report->early++;
    if (report->arrived == 1 || latency < report->least)
        report->least = latency;
    if (latency > report->most)
        report->most = latency;
    report->latency[bucket(latency)]++;
}

void report_add(struct report *report, const struct probe *probe, uint64_t arrived_ns,
                uint32_t length)
{
    bool late;

    if (!report->begun) {
        report->begun = true;
        report->stream = probe->stream;
        report->first_ns = arrived_ns;
    }
    if (probe->stream != report->stream) {
        report->foreign++;
        return;
    }
    if (probe->end) {
        report->ended = true;
        report->announced = probe->sequence;
        return;
    }
    late = probe->sequence < report->next;
    if (note(report, probe->sequence)) {
        report->duplicates++;
        return;
    }
    report->arrived++;
    report->bytes += length;
    report->reordered += late;
    report->last_ns = arrived_ns;
    add_latency(report, probe->timestamp, arrived_ns);
}

uint64_t report_lost(const struct report *report)
{
    uint64_t sent = report->ended && report->announced > report->next ? report->announced
                                                                      : report->next;

    return sent > report->arrived ? sent - report->arrived : 0;
}

uint64_t report_latency(const struct report *report, double share)
{
    uint64_t before = 0, wanted = (uint64_t)(share * (double)report->arrived);

    if (report->arrived == 0)
        return 0;
    if (wanted >= report->arrived)
        return report->most;
    for (unsigned i = 0; i < BUCKETS; i++) {
        before += report->latency[i];
        if (before > wanted) {
            uint64_t middle = bucket_middle(i);
            return middle < report->least  ? report->least
                   : middle > report->most ? report->most
                                           : middle;
        }
    }
    return report->most;
}

void report_print(const struct report *report, FILE *out)
{
    static const double shares[] = {0.5, 0.9, 0.99, 0.999};
    double seconds = (double)(report->last_ns - report->first_ns) / 1e9;

    fprintf(out,
            "%" PRIu64 " packets arrived, %" PRIu64 " lost, %" PRIu64 " reordered, %" PRIu64
            " duplicates%s\n",
            report->arrived, report_lost(report), report->reordered, report->duplicates,
            report->ended ? "" : " (no end was announced: what was lost there is not counted)");
    if (report->foreign > 0)
        fprintf(out, "%" PRIu64 " packets of other streams were left out\n", report->foreign);
    if (report->arrived == 0)
        return;
    if (report->arrived > 1 && seconds > 0)
        fprintf(out, "%" PRIu64 " bytes in %.3f s (%.1f kpps, %.1f Mbit/s)\n", report->bytes,
                seconds, (double)(report->arrived - 1) / seconds / 1e3,
                (double)report->bytes * 8 / seconds / 1e6);
    fprintf(out, "latency in microseconds: least %.1f", (double)report->least / 1e3);
    for (unsigned i = 0; i < sizeof shares / sizeof *shares; i++)
        fprintf(out, ", %g %% %.1f", shares[i] * 100,
                (double)report_latency(report, shares[i]) / 1e3);
    fprintf(out, ", most %.1f\n", (double)report->most / 1e3);
    if (report->early > 0)
        fprintf(out, "%" PRIu64 " packets seem to have arrived before they were sent: "
                     "the clocks differ\n", report->early);
}
