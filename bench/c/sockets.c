/* Receivers without a ring: recvfrom and recvmmsg, with a receive buffer as large as the
 * rings, and kernel timestamps where one call can bring them along. */
#include "consumer.h"
#include "family.h"
#include <poll.h>

enum { BATCH = 64, ROOM = 2048 };

static int fd;
static uint8_t data[BATCH][ROOM];
static uint8_t control[BATCH][64];
static struct iovec vectors[BATCH];
static struct mmsghdr messages[BATCH];

static void open_socket(const struct setup *setup)
{
	int bytes = (int)(setup->ring_bytes ? setup->ring_bytes * 8 : 212992), on = 1;

	fd = packet_socket();
	/* skb overhead is charged too: eight times the ring keeps it from dropping first */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on))
		die("SO_TIMESTAMPNS");
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ data[i], ROOM };
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	packet_bind(fd, setup->device, ETH_P_ALL);
}

static uint64_t take_recvfrom(uint64_t limit)
{
	uint64_t taken = 0;

	for (; taken < limit; taken++) {
		struct sockaddr_ll from;
		socklen_t size = sizeof from;
		ssize_t length = recvfrom(fd, data[0], ROOM, MSG_TRUNC | MSG_DONTWAIT,
					  (struct sockaddr *)&from, &size);
		if (length < 0)
			break;
		touch(data[0], (uint32_t)length, from.sll_protocol);
	}
	return taken;
}

static uint64_t take_recvmmsg(uint64_t limit)
{
	uint64_t taken = 0;

	while (taken < limit) {
		for (int i = 0; i < BATCH; i++) {
			messages[i].msg_hdr.msg_control = control[i];
			messages[i].msg_hdr.msg_controllen = sizeof control[i];
		}
		int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
		if (count <= 0)
			break;
		for (int i = 0; i < count; i++) {
			struct timespec stamp = { 0 };
			struct cmsghdr *header = CMSG_FIRSTHDR(&messages[i].msg_hdr);

			if (header)
				memcpy(&stamp, CMSG_DATA(header), sizeof stamp);
			touch(data[i], messages[i].msg_len,
			      (uint64_t)stamp.tv_sec * 1000000000u + (uint64_t)stamp.tv_nsec);
		}
		taken += (uint64_t)count;
	}
	return taken;
}

static void wait_poll(int timeout_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	poll(&poll_fd, 1, timeout_ms);
}

static struct counts socket_counts(void) { return packet_counts(fd); }

const struct consumer consumers[] = {
	{ "recvfrom", open_socket, take_recvfrom, wait_poll, socket_counts, NULL },
	{ "recvmmsg", open_socket, take_recvmmsg, wait_poll, socket_counts, NULL },
	{ 0 },
};
