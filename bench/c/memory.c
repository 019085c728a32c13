/* memory [near= far=]: what a handle costs beside its rings. Wraps the allocator of this process,
 * so that every call the library makes is seen; runs real traffic over the veth pair through
 * every receive and transmit path between activate and close. One JSON line. */
#include "bench.h"
#include <malloc.h>
#include <pktring.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

static size_t live, peak, calls;

static void *counted(void *memory)
{
	calls++;
	live += memory ? malloc_usable_size(memory) : 0;
	if (live > peak)
		peak = live;
	return memory;
}

void *malloc(size_t size) { return counted(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return counted(__libc_calloc(count, size)); }
void *aligned_alloc(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	*memory = counted(__libc_memalign(alignment, size));
	return *memory ? 0 : ENOMEM;
}

void *realloc(void *old, size_t size)
{
	live -= old ? malloc_usable_size(old) : 0;
	return counted(__libc_realloc(old, size));
}

void free(void *memory)
{
	live -= memory ? malloc_usable_size(memory) : 0;
	__libc_free(memory);
}

static void check(pktring_t *handle, int result, const char *what)
{
	if (result < 0)
		fail("%s: %s", what, pktring_geterr(handle));
}

static uint64_t touched_by_callback;

static void on_frame(void *user, const struct pktring_frame *frame)
{
	*(uint64_t *)user += frame->len;
}

static void send_some(pktring_t *sender)
{
	uint8_t frame[64];
	struct pktring_buffer vectors[32];
	struct pktring_slot slot;
	struct pktring_completion done[64];

	make_frame(frame, sizeof frame, 0);
	for (int i = 0; i < 32; i++) {
		vectors[i] = (struct pktring_buffer){ frame, sizeof frame };
		check(sender, pktring_tx_reserve(sender, &slot), "tx_reserve");
		memcpy(slot.data, frame, sizeof frame);
		check(sender, pktring_tx_commit(sender, &slot, sizeof frame), "tx_commit");
	}
	check(sender, pktring_tx_flush(sender, 1000), "tx_flush");
	check(sender, pktring_tx_complete(sender, done, 64), "tx_complete");
	check(sender, pktring_inject(sender, frame, sizeof frame), "inject");
	check(sender, pktring_inject_batch(sender, vectors, 32), "inject_batch");
}

static uint64_t receive_some(pktring_t *receiver)
{
	struct pktring_frame frames[16];
	struct pktring_stats stats = { .size = sizeof stats };
	uint64_t seen = 0;
	int count;

	check(receiver, pktring_wait(receiver, PKTRING_RX, 500), "wait");
	if (pktring_next_frame(receiver, &frames[0]) == 1) {
		seen++;
		check(receiver, pktring_release(receiver, &frames[0]), "release");
	}
	while ((count = pktring_next_batch(receiver, frames, 16)) > 0) {
		seen += (uint64_t)count;
		check(receiver, pktring_release_batch(receiver, frames, (uint32_t)count), "release");
	}
	check(receiver, pktring_dispatch(receiver, 0, 0, on_frame, &touched_by_callback), "dispatch");
	check(receiver, pktring_stats(receiver, &stats), "stats");
	return seen;
}

static pktring_t *opened(const char *device, bool transmit, uint32_t profile)
{
	char text[PKTRING_ERRBUF_SIZE];
	pktring_t *handle = pktring_open(device, text);

	if (!handle)
		fail("pktring_open: %s", text);
	check(handle, pktring_set_profile(handle, profile), "set_profile");
	check(handle, pktring_set_ring(handle, transmit ? PKTRING_TX : PKTRING_RX, NULL), "set_ring");
	check(handle, pktring_activate(handle), "activate");
	return handle;
}

int main(int argc, char **argv)
{
	static char buffer[4096];
	const char *near = argument(argc, argv, "near", "va"), *far = argument(argc, argv, "far", "vb");
	size_t heap = 0, after = 0;
	uint64_t seen = 0;

	setvbuf(stdout, buffer, _IOFBF, sizeof buffer); /* stdio's own allocation is not counted */
	for (uint32_t profile = PKTRING_PROFILE_THROUGHPUT; profile <= PKTRING_PROFILE_LOW_MEMORY;
	     profile++) {
		size_t before = live;
		peak = live;
		pktring_t *receiver = opened(far, false, profile);
		if (peak - before > heap)
			heap = peak - before;
		before = peak = live;
		pktring_t *sender = opened(near, true, profile);
		if (peak - before > heap)
			heap = peak - before;

		size_t calls_before = calls;
		for (int i = 0; i < 20; i++) {
			send_some(sender);
			seen += receive_some(receiver);
		}
		after += calls - calls_before;
		pktring_close(sender);
		pktring_close(receiver);
	}
	if (!seen)
		fail("no frame was received: nothing was measured");
	printf("{\"heap_bytes\":%zu,\"allocations_after_activate\":%zu,\"left_after_close\":%zu,"
	       "\"frames\":%lu}\n", heap, after, live, seen);
	return 0;
}
