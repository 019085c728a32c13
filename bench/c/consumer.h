/* A receiver under test. Each family of peers (ours.c, hand.c, ...) exports a table of them;
 * drain.c and receive.c are linked once with each family. */
#pragma once
#include "bench.h"

struct setup {
	const char *device;
	size_t ring_bytes;  /* 0: the peer's own default */
	unsigned retire_ms; /* 0: the peer's own default */
	unsigned frame_size; /* V1 and V2 slots */
	unsigned block_size; /* 0: the peer's own default */
	unsigned spin_us;
	bool awake; /* processors do not sleep meanwhile */
	bool blocking; /* take() may sleep in the peer's own way; ended by stop() */
};

struct counts {
	uint64_t received, dropped; /* by the kernel; received includes dropped */
};

struct consumer {
	const char *name;
	void (*open)(const struct setup *setup);
	/* Takes what is ready, at most about `limit` frames (whole blocks may overshoot). */
	uint64_t (*take)(uint64_t limit);
	void (*wait)(int timeout_ms);
	struct counts (*counts)(void);
	void (*stop)(void); /* from the signal handler; NULL where wait() returns by itself */
};

extern const struct consumer consumers[];

/* The work on each frame, the same for every peer: length, timestamp and first 8 bytes. */
extern uint64_t touched, touched_bytes, work_ns;

#ifdef LATENCY
void take_sample(const uint8_t *data, uint32_t length);
#endif

static inline void touch(const uint8_t *data, uint32_t length, uint64_t timestamp)
{
	uint64_t word;

#ifdef LATENCY
	take_sample(data, length);
#endif

	memcpy(&word, data, sizeof word);
	touched += word ^ timestamp;
	touched_bytes += length;
	if (__builtin_expect(work_ns != 0, 0))
		for (uint64_t end = now_ns() + work_ns; now_ns() < end;)
			;
}
