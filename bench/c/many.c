/* many handles= threads= [fanout=1 ring= device=]: opens many handles, bound alone or as one
 * fanout group, says "ready"; each "go N T" drains N frames from each handle with T threads and
 * answers with the wall time for each frame. Threads share the handles evenly. */
#include "consumer.h"
#include <pktring.h>
#include <pthread.h>

enum { MOST = 256 };

uint64_t touched, touched_bytes, work_ns;

static pktring_t *handles[MOST];
static unsigned handle_count;
static uint64_t drained[MOST];
static unsigned arrived; /* workers at the start */

struct share {
	unsigned first, step; /* step: how many workers there are */
	uint64_t wanted;
	int cpu;
	uint64_t start, end; /* by each worker itself: the main thread may be late */
};

/* Stops at the first empty ring as well: a fanout group does not promise equal shares. */
static uint64_t drain_one(pktring_t *handle, uint64_t wanted)
{
	struct pktring_frame frame;
	uint64_t taken = 0, sum = 0, word;

	for (; taken < wanted && pktring_next_frame(handle, &frame) == 1; taken++) {
		memcpy(&word, frame.data, sizeof word);
		sum += word ^ frame.timestamp ^ frame.len;
		pktring_release(handle, &frame);
	}
	__atomic_fetch_add(&touched, sum, __ATOMIC_RELAXED);
	return taken;
}

static void *drain_share(void *argument)
{
	struct share *share = argument;

	pin(share->cpu);
	/* They spin for each other: a wake-up takes as long as thousands of frames. */
	__atomic_fetch_add(&arrived, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < share->step)
		;
	share->start = now_ns();
	for (unsigned i = share->first; i < handle_count; i += share->step)
		drained[i] = drain_one(handles[i], share->wanted);
	share->end = now_ns();
	return NULL;
}

static void drain_all(uint64_t wanted, unsigned threads)
{
	pthread_t workers[MOST];
	struct share shares[MOST];
	uint64_t total = 0;

	arrived = 0;
	for (unsigned i = 0; i < threads; i++) {
		/* the last worker takes CPU 1, where a single one also runs */
		shares[i] = (struct share){ i, threads, wanted, (int)(threads - i) % 2, 0, 0 };
		if (pthread_create(&workers[i], NULL, drain_share, &shares[i]))
			die("pthread_create");
	}
	uint64_t start = UINT64_MAX, end = 0;
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(workers[i], NULL);
		start = shares[i].start < start ? shares[i].start : start;
		end = shares[i].end > end ? shares[i].end : end;
	}
	uint64_t wall = end - start;
	for (unsigned i = 0; i < handle_count; i++)
		total += drained[i];
	printf("{\"frames\":%lu,\"ns\":%.4f}\n", total, total ? (double)wall / (double)total : 0.0);
	fflush(stdout);
}

static pktring_t *open_one(const char *device, size_t ring_bytes, bool fanout)
{
	char text[PKTRING_ERRBUF_SIZE];
	pktring_t *handle = pktring_open(device, text);

	if (!handle)
		fail("pktring_open: %s", text);
	if (ring_bytes) {
		struct pktring_ring ring = { .size = sizeof ring };
		struct pktring_budget budget = {
			.size = sizeof budget, .memory = ring_bytes, .version = PKTRING_V3,
			.direction = PKTRING_RX, .frame_length = 1514,
		};
		if (pktring_ring_fit(&budget, &ring, text) ||
		    pktring_set_ring(handle, PKTRING_RX, &ring))
			fail("ring of %zu bytes: %s", ring_bytes, text);
	}
	struct pktring_fanout group = {
		.size = sizeof group, .mode = PKTRING_FANOUT_LB, .group = 77,
	};
	if (fanout && pktring_set_fanout(handle, &group))
		fail("set_fanout: %s", pktring_geterr(handle));
	if (pktring_activate(handle))
		fail("activate: %s", pktring_geterr(handle));
	return handle;
}

int main(int argc, char **argv)
{
	char line[64];
	unsigned threads;
	uint64_t wanted;

	handle_count = (unsigned)number(argc, argv, "handles", 2);
	if (handle_count > MOST)
		fail("at most %d handles", MOST);
	for (unsigned i = 0; i < handle_count; i++)
		handles[i] = open_one(argument(argc, argv, "device", "lo"),
				      number(argc, argv, "ring", 0), number(argc, argv, "fanout", 0));
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin))
		if (sscanf(line, "go %lu %u", &wanted, &threads) == 2 && threads <= MOST)
			drain_all(wanted, threads);
	return 0;
}
