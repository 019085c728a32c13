/* libpcap as its manual shows it: pcap_dispatch, pcap_next_ex, immediate mode. */
#include "consumer.h"
#include <pcap/pcap.h>

static pcap_t *handle;

static void open_pcap(const struct setup *setup, bool immediate)
{
	char text[PCAP_ERRBUF_SIZE];

	handle = pcap_create(setup->device, text);
	if (!handle)
		fail("pcap_create: %s", text);
	/* untouched settings are libpcap's defaults: 2 MiB, whole frames */
	if (setup->ring_bytes)
		pcap_set_buffer_size(handle, (int)setup->ring_bytes);
	if (setup->retire_ms)
		pcap_set_timeout(handle, (int)setup->retire_ms);
	if (setup->frame_size)
		pcap_set_snaplen(handle, (int)setup->frame_size);
	if (immediate)
		pcap_set_immediate_mode(handle, 1);
	if (pcap_activate(handle) < 0)
		fail("pcap_activate: %s", pcap_geterr(handle));
	if (!setup->blocking && pcap_setnonblock(handle, 1, text))
		fail("pcap_setnonblock: %s", text);
}

static void open_buffered(const struct setup *setup) { open_pcap(setup, false); }
static void open_immediate(const struct setup *setup) { open_pcap(setup, true); }

static void on_frame(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	(void)user;
	touch(data, header->len,
	      (uint64_t)header->ts.tv_sec * 1000000000u + (uint64_t)header->ts.tv_usec * 1000u);
}

static uint64_t take_dispatch(uint64_t limit)
{
	uint64_t taken = 0;
	int count;

	while (taken < limit && (count = pcap_dispatch(handle, -1, on_frame, NULL)) > 0)
		taken += (uint64_t)count;
	return taken;
}

static uint64_t take_next_ex(uint64_t limit)
{
	uint64_t taken = 0;
	struct pcap_pkthdr *header;
	const u_char *data;

	for (; taken < limit && pcap_next_ex(handle, &header, &data) == 1; taken++)
		on_frame(NULL, header, data);
	return taken;
}

/* Nothing to do: a blocking handle has slept in take() already. */
static void wait_inside(int timeout_ms) { (void)timeout_ms; }

static void stop_pcap(void) { pcap_breakloop(handle); }

static struct counts pcap_counts(void)
{
	struct pcap_stat stats;

	if (pcap_stats(handle, &stats))
		fail("pcap_stats: %s", pcap_geterr(handle));
	return (struct counts){ stats.ps_recv, stats.ps_drop };
}

const struct consumer consumers[] = {
	{ "pcap_dispatch", open_buffered, take_dispatch, wait_inside, pcap_counts, stop_pcap },
	{ "pcap_next_ex", open_buffered, take_next_ex, wait_inside, pcap_counts, stop_pcap },
	{ "pcap_immediate", open_immediate, take_dispatch, wait_inside, pcap_counts, stop_pcap },
	{ 0 },
};
