/* Senders on a bare packet socket: send, sendmmsg, and the kernel document's V2 transmit ring. */
#include "transmitter.h"

static int fd;
static struct mmsghdr messages[POOL];
static struct hand_ring ring;
static unsigned position;

static void open_socket(const struct plan *plan)
{
	fd = packet_socket();
	if (plan->bypass)
		packet_option(fd, PACKET_QDISC_BYPASS, 1);
	packet_bind(fd, plan->device, plan->protocol);
	for (unsigned i = 0; i < POOL; i++) {
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
}

static unsigned send_mmsg(const struct plan *plan, unsigned first)
{
	int sent = sendmmsg(fd, messages + first, plan->batch, 0);

	return sent > 0 ? (unsigned)sent : 0;
}

static unsigned send_each(const struct plan *plan, unsigned first)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < plan->batch; i++)
		sent += send(fd, pool[first + i], vectors[first + i].iov_len, 0) > 0;
	return sent;
}

static void open_ring(const struct plan *plan)
{
	unsigned slot = plan->size && plan->size <= 128 ? 256 : 2048;

	ring = hand_ring(TPACKET_V2, PACKET_TX_RING, (size_t)1024 * slot, MIB / 4, slot, 0);
	if (plan->bypass)
		packet_option(ring.fd, PACKET_QDISC_BYPASS, 1);
	packet_bind(ring.fd, plan->device, 0);
}

static unsigned send_ring(const struct plan *plan, unsigned first)
{
	unsigned queued = 0;

	for (; queued < plan->batch; queued++) {
		struct tpacket2_hdr *header = (void *)ring_frame(&ring, position);
		struct iovec *frame = &vectors[first + queued];

		if (__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) != TP_STATUS_AVAILABLE)
			break;
		memcpy((uint8_t *)header + TPACKET_ALIGN(sizeof *header), frame->iov_base,
		       frame->iov_len);
		header->tp_len = (uint32_t)frame->iov_len;
		__atomic_store_n(&header->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
		if (++position == ring.frame_count)
			position = 0;
	}
	send(ring.fd, NULL, 0, MSG_DONTWAIT);
	return queued;
}

static void finish_ring(void)
{
	send(ring.fd, NULL, 0, 0); /* a blocking kick returns when nothing is pending */
}

const struct transmitter transmitters[] = {
	{ "sendmmsg", open_socket, send_mmsg, NULL },
	{ "send", open_socket, send_each, NULL },
	{ "hand_ring_v2", open_ring, send_ring, finish_ring },
	{ 0 },
};
