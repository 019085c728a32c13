/* libpktring's senders: the transmit ring, inject of one frame, inject of a batch. */
#include "transmitter.h"
#include <pktring.h>

static pktring_t *handle;

static void check(int result, const char *what)
{
	if (result < 0)
		fail("%s: %s", what, pktring_geterr(handle));
}

static void start(const struct plan *plan)
{
	char text[PKTRING_ERRBUF_SIZE];

	handle = pktring_open(plan->device, text);
	if (!handle)
		fail("pktring_open: %s", text);
}

static void open_ring(const struct plan *plan)
{
	start(plan);
	check(pktring_set_ring(handle, PKTRING_TX, NULL), "set_ring");
	check(pktring_set_protocol(handle, plan->protocol), "set_protocol");
	if (plan->bypass)
		check(pktring_set_qdisc_bypass(handle, 1), "set_qdisc_bypass");
}

static void open_kernel_ring(const struct plan *plan)
{
	open_ring(plan);
	check(pktring_activate(handle), "activate");
}

/* What pktring_open_transmit chooses. Injected frames go to the socket, not through the slots; it is
 * bound to no protocol, like that of the bare senders, unless the plan says otherwise. */
static void open_copied_ring(const struct plan *plan)
{
	open_ring(plan);
	check(pktring_set_tx_method(handle, PKTRING_TX_METHOD_COPY), "set_tx_method");
	check(pktring_activate(handle), "activate");
}

static unsigned send_ring(const struct plan *plan, unsigned first)
{
	struct pktring_slot slot;
	unsigned queued = 0;

	for (; queued < plan->batch && pktring_tx_reserve(handle, &slot) == 1; queued++) {
		struct iovec *frame = &vectors[first + queued];

		memcpy(slot.data, frame->iov_base, frame->iov_len);
		check(pktring_tx_commit(handle, &slot, (uint32_t)frame->iov_len), "tx_commit");
	}
	check(pktring_tx_flush(handle, 0), "tx_flush");
	return queued;
}

static void finish_ring(void) { check(pktring_tx_flush(handle, 1000), "tx_flush"); }

static unsigned send_inject(const struct plan *plan, unsigned first)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < plan->batch; i++)
		sent += pktring_inject(handle, pool[first + i], vectors[first + i].iov_len) > 0;
	return sent;
}

static unsigned send_batch(const struct plan *plan, unsigned first)
{
	/* struct pktring_buffer is laid out like struct iovec */
	int sent = pktring_inject_batch(handle, (const struct pktring_buffer *)(vectors + first),
					plan->batch);

	check(sent, "inject_batch");
	return (unsigned)sent;
}

/* For every protocol: the kernel segments by the protocol of the socket otherwise, and cannot. */
static void open_gso(const struct plan *plan)
{
	start(plan);
	check(pktring_set_profile(handle, PKTRING_PROFILE_LOW_MEMORY), "set_profile");
	check(pktring_set_vnet_header(handle, 10), "set_vnet_header");
	check(pktring_activate(handle), "activate");
}

/* The same frames as everyone sends: one flow of one size, which the library joins. */
static unsigned send_gso(const struct plan *plan, unsigned first)
{
	int sent = pktring_inject_gso(handle, (const struct pktring_buffer *)(vectors + first),
				      plan->batch);

	check(sent, "inject_gso");
	return (unsigned)sent;
}

const struct transmitter transmitters[] = {
	{ "tx_ring", open_kernel_ring, send_ring, finish_ring },
	{ "tx_copy", open_copied_ring, send_ring, finish_ring },
	{ "inject", open_copied_ring, send_inject, NULL },
	{ "inject_batch", open_copied_ring, send_batch, NULL },
	{ "gso", open_gso, send_gso, NULL },
	{ 0 },
};
