/* libpktring through its ordinary shared library: every way to receive. */
#include "consumer.h"
#include <pktring.h>

enum { BATCH = 64 };

static pktring_t *handle;

static void check(int result, const char *what)
{
	if (result < 0)
		fail("%s: %s", what, handle ? pktring_geterr(handle) : pktring_strerror(result));
}

static void start(const struct setup *setup)
{
	char text[PKTRING_ERRBUF_SIZE];

	handle = pktring_open(setup->device, text);
	if (!handle)
		fail("pktring_open: %s", text);
	if (setup->spin_us)
		check(pktring_set_spin(handle, setup->spin_us), "set_spin");
	if (setup->awake)
		check(pktring_set_wake_latency(handle, 0), "set_wake_latency");
}

/* Untouched settings are the library's defaults; ring_bytes asks its own calculator. */
static void finish(const struct setup *setup, uint32_t version)
{
	if (setup->ring_bytes || setup->retire_ms || setup->block_size) {
		char text[PKTRING_ERRBUF_SIZE];
		struct pktring_ring ring = { .size = sizeof ring };

		if (setup->ring_bytes) {
			struct pktring_budget budget = {
				.size = sizeof budget, .memory = setup->ring_bytes,
				.version = version, .direction = PKTRING_RX,
				.mode = PKTRING_RAW, .frame_length = setup->frame_size ? setup->frame_size : 1514,
			};
			check(pktring_ring_fit(&budget, &ring, text), text);
		}
		if (setup->block_size && version == PKTRING_V3) {
			ring.block_size = setup->block_size;
			ring.block_count = (uint32_t)(setup->ring_bytes / setup->block_size);
			ring.frame_count = 0;
		}
		if (setup->retire_ms && version == PKTRING_V3)
			ring.retire_timeout_ms = setup->retire_ms;
		check(pktring_set_ring(handle, PKTRING_RX, &ring), "set_ring");
	}
	check(pktring_activate(handle), "activate");
}

static void open_v3(const struct setup *setup)
{
	start(setup);
	finish(setup, PKTRING_V3);
}

/* V2 with slots fitted to the snaplen, as the documentation advises for V2. */
static void open_v2(const struct setup *setup)
{
	start(setup);
	check(pktring_set_version(handle, PKTRING_V2), "set_version");
	if (setup->frame_size)
		check(pktring_set_snaplen(handle, setup->frame_size), "set_snaplen");
	finish(setup, PKTRING_V2);
}

static void open_latency(const struct setup *setup)
{
	start(setup);
	check(pktring_set_profile(handle, PKTRING_PROFILE_LATENCY), "set_profile");
	finish(setup, PKTRING_V2);
}

static uint64_t take_next_frame(uint64_t limit)
{
	struct pktring_frame frame;
	uint64_t taken = 0;

	for (; taken < limit && pktring_next_frame(handle, &frame) == 1; taken++) {
		touch(frame.data, frame.len, frame.timestamp);
		pktring_release(handle, &frame);
	}
	return taken;
}

static uint64_t take_next_batch(uint64_t limit)
{
	static struct pktring_frame frames[BATCH];
	uint64_t taken = 0;
	int count;

	while (taken < limit && (count = pktring_next_batch(handle, frames, BATCH)) > 0) {
		for (int i = 0; i < count; i++)
			touch(frames[i].data, frames[i].len, frames[i].timestamp);
		pktring_release_batch(handle, frames, (uint32_t)count);
		taken += (uint64_t)count;
	}
	return taken;
}

static uint64_t take_block(uint64_t limit)
{
	struct pktring_block block;
	struct pktring_iter iter;
	struct pktring_frame frame;
	uint64_t taken = 0;

	while (taken < limit && pktring_next_block(handle, &block) == 1) {
		pktring_iter_init(&iter, &block);
		while (pktring_iter_next(&iter, &frame) == 1)
			touch(frame.data, frame.len, frame.timestamp);
		taken += block.frame_count;
		pktring_release_block(handle, &block);
	}
	return taken;
}

static void on_frame(void *user, const struct pktring_frame *frame)
{
	(void)user;
	touch(frame->data, frame->len, frame->timestamp);
}

static uint64_t take_dispatch(uint64_t limit)
{
	uint64_t taken = 0;
	int count;

	while (taken < limit && (count = pktring_dispatch(handle, 0, 0, on_frame, NULL)) > 0)
		taken += (uint64_t)count;
	return taken;
}

static void wait_ready(int timeout_ms) { pktring_wait(handle, PKTRING_RX, timeout_ms); }

/* The busy consumer of the V2 rows: sleeps a fixed millisecond instead of polling. */
static void wait_nap(int timeout_ms)
{
	struct timespec nap = { 0, 1000000 };

	(void)timeout_ms;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
}

static struct counts ring_counts(void)
{
	struct pktring_stats stats = { .size = sizeof stats };

	check(pktring_stats(handle, &stats), "stats");
	return (struct counts){ stats.received, stats.dropped };
}

static void stop_wait(void) { pktring_breakloop(handle); }

const struct consumer consumers[] = {
	{ "next_frame", open_v3, take_next_frame, wait_ready, ring_counts, stop_wait },
	{ "next_batch", open_v3, take_next_batch, wait_ready, ring_counts, stop_wait },
	{ "dispatch", open_v3, take_dispatch, wait_ready, ring_counts, stop_wait },
	{ "block", open_v3, take_block, wait_ready, ring_counts, stop_wait },
	{ "next_frame_v2", open_v2, take_next_frame, wait_ready, ring_counts, stop_wait },
	{ "next_frame_v2_nap", open_v2, take_next_frame, wait_nap, ring_counts, NULL },
	{ "next_frame_latency", open_latency, take_next_frame, wait_ready, ring_counts, stop_wait },
	{ 0 },
};
