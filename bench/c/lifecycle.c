/* lifecycle [bytes= rounds=]: opening and closing a large ring, through the library and with the
 * bare system calls for the same geometry, in random order within each round. Wall time, because
 * most of it is the kernel clearing pages. One JSON line per round. */
#include "bench.h"
#include <pktring.h>

struct times {
	double open_ms, close_ms;
};

static void check(pktring_t *handle, int result, const char *what)
{
	if (result < 0)
		fail("%s: %s", what, pktring_geterr(handle));
}

static struct times through_library(struct pktring_ring *ring)
{
	char text[PKTRING_ERRBUF_SIZE];
	pktring_t *handle = pktring_open("lo", text);

	if (!handle)
		fail("pktring_open: %s", text);
	check(handle, pktring_set_ring(handle, PKTRING_RX, ring), "set_ring");
	uint64_t start = now_ns();
	check(handle, pktring_activate(handle), "activate");
	uint64_t active = now_ns();
	check(handle, pktring_get_ring(handle, PKTRING_RX, ring), "get_ring");
	uint64_t closing = now_ns();
	pktring_close(handle);
	return (struct times){ (double)(active - start) / 1e6, (double)(now_ns() - closing) / 1e6 };
}

static struct times bare(const struct pktring_ring *ring)
{
	uint64_t start = now_ns();
	struct hand_ring by_hand =
		hand_ring(TPACKET_V3, PACKET_RX_RING, (size_t)ring->block_size * ring->block_count,
			  ring->block_size, ring->frame_size, ring->retire_timeout_ms);
	packet_bind(by_hand.fd, "lo", ETH_P_ALL);
	uint64_t active = now_ns();
	munmap(by_hand.map, by_hand.length);
	close(by_hand.fd);
	return (struct times){ (double)(active - start) / 1e6, (double)(now_ns() - active) / 1e6 };
}

int main(int argc, char **argv)
{
	uint64_t bytes = number(argc, argv, "bytes", 1u << 30);
	unsigned rounds = (unsigned)number(argc, argv, "rounds", 9);
	char text[PKTRING_ERRBUF_SIZE];
	struct pktring_ring ring = { .size = sizeof ring };
	struct pktring_budget budget = {
		.size = sizeof budget, .memory = bytes, .version = PKTRING_V3,
		.direction = PKTRING_RX, .mode = PKTRING_RAW, .frame_length = 1514,
	};

	pin((int)number(argc, argv, "cpu", 1));
	if (pktring_ring_fit(&budget, &ring, text))
		fail("ring_fit: %s", text);
	through_library(&ring); /* fills in what the library chose; warms the allocator */
	bare(&ring);
	srand((unsigned)now_ns());
	for (unsigned i = 0; i < rounds; i++) {
		bool first = rand() & 1;
		struct times ours, theirs, twin;

		if (first)
			ours = through_library(&ring);
		theirs = bare(&ring);
		if (!first)
			ours = through_library(&ring);
		twin = bare(&ring);
		printf("{\"open\":{\"library\":%.3f,\"bare\":%.3f,\"bare~twin\":%.3f},"
		       "\"close\":{\"library\":%.3f,\"bare\":%.3f,\"bare~twin\":%.3f}}\n",
		       ours.open_ms, theirs.open_ms, twin.open_ms, ours.close_ms, theirs.close_ms,
		       twin.close_ms);
		fflush(stdout);
	}
	return 0;
}
