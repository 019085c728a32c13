/* The receive loops of the kernel's packet_mmap document, written out by hand: V1, V2, V3. */
#include "consumer.h"
#include "family.h"
#include <poll.h>

static struct hand_ring ring;
static unsigned position; /* the next frame (V1, V2) or block (V3) */

static void open_ring(const struct setup *setup, int version)
{
	unsigned frame_size = setup->frame_size ? setup->frame_size : 2048;
	unsigned block_size = setup->block_size ? setup->block_size : MIB / 4;

	ring = hand_ring(version, PACKET_RX_RING, setup->ring_bytes ? setup->ring_bytes : 64 * MIB,
			 block_size, frame_size, setup->retire_ms ? setup->retire_ms : 60);
	packet_bind(ring.fd, setup->device, ETH_P_ALL);
}

static void open_v1(const struct setup *setup) { open_ring(setup, TPACKET_V1); }
static void open_v2(const struct setup *setup) { open_ring(setup, TPACKET_V2); }
static void open_v3(const struct setup *setup) { open_ring(setup, TPACKET_V3); }

static uint64_t take_v1(uint64_t limit)
{
	uint64_t taken = 0;

	for (; taken < limit; taken++) {
		struct tpacket_hdr *header = (void *)ring_frame(&ring, position);

		if (!(__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			break;
		touch((uint8_t *)header + header->tp_mac, header->tp_len,
		      header->tp_sec * 1000000000ull + header->tp_usec * 1000ull);
		__atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		if (++position == ring.frame_count)
			position = 0;
	}
	return taken;
}

static uint64_t take_v2(uint64_t limit)
{
	uint64_t taken = 0;

	for (; taken < limit; taken++) {
		struct tpacket2_hdr *header = (void *)ring_frame(&ring, position);

		if (!(__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			break;
		touch((uint8_t *)header + header->tp_mac, header->tp_len,
		      header->tp_sec * 1000000000ull + header->tp_nsec);
		__atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		if (++position == ring.frame_count)
			position = 0;
	}
	return taken;
}

static void walk_block(struct tpacket_block_desc *block)
{
	struct tpacket3_hdr *header =
		(void *)((uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);

	for (uint32_t left = block->hdr.bh1.num_pkts; left; left--) {
		touch((uint8_t *)header + header->tp_mac, header->tp_len,
		      header->tp_sec * 1000000000ull + header->tp_nsec);
		header = (void *)((uint8_t *)header + header->tp_next_offset);
	}
}

static uint64_t take_v3(uint64_t limit)
{
	uint64_t taken = 0;

	while (taken < limit) {
		struct tpacket_block_desc *block =
			(void *)(ring.map + (size_t)position * ring.block_size);

		if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) &
		      TP_STATUS_USER))
			break;
		taken += block->hdr.bh1.num_pkts;
		walk_block(block);
		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		if (++position == ring.block_count)
			position = 0;
	}
	return taken;
}

static void wait_poll(int timeout_ms)
{
	struct pollfd poll_fd = { .fd = ring.fd, .events = POLLIN };

	poll(&poll_fd, 1, timeout_ms);
}

static void wait_nap(int timeout_ms)
{
	struct timespec nap = { 0, 1000000 };

	(void)timeout_ms;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
}

static struct counts ring_counts(void) { return packet_counts(ring.fd); }

const struct consumer consumers[] = {
	{ "hand_v1", open_v1, take_v1, wait_poll, ring_counts, NULL },
	{ "hand_v2", open_v2, take_v2, wait_poll, ring_counts, NULL },
	{ "hand_v2_nap", open_v2, take_v2, wait_nap, ring_counts, NULL },
	{ "hand_v3", open_v3, take_v3, wait_poll, ring_counts, NULL },
	{ 0 },
};
