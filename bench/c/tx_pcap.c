/* libpcap's sender: one pcap_inject per frame. */
#include "transmitter.h"
#include <pcap/pcap.h>

static pcap_t *handle;

/* A filter that matches nothing keeps the capture half of the handle quiet. */
static void open_pcap(const struct plan *plan)
{
	char text[PCAP_ERRBUF_SIZE];
	struct bpf_program nothing;

	handle = pcap_open_live(plan->device, 128, 0, 100, text);
	if (!handle)
		fail("pcap_open_live: %s", text);
	if (pcap_compile(handle, &nothing, "less 1", 1, PCAP_NETMASK_UNKNOWN) ||
	    pcap_setfilter(handle, &nothing))
		fail("filter: %s", pcap_geterr(handle));
}

static unsigned send_inject(const struct plan *plan, unsigned first)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < plan->batch; i++)
		sent += pcap_inject(handle, pool[first + i], vectors[first + i].iov_len) > 0;
	return sent;
}

const struct transmitter transmitters[] = {
	{ "pcap_inject", open_pcap, send_inject, NULL },
	{ 0 },
};
