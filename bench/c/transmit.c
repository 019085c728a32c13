/* transmit NAME device= size= count= batch= bypass= protocol= cpu=: sends count frames as fast as it
 * can and answers with CPU and wall time. Whether they arrived is the suite's business: it reads the
 * counters of the device at the other end. */
#include "transmitter.h"

uint8_t pool[POOL][9216];
struct iovec vectors[POOL];

static const struct transmitter *find(const char *name)
{
	for (const struct transmitter *t = transmitters; t->name; t++)
		if (!strcmp(t->name, name))
			return t;
	fail("no sender named %s here", name);
}

static void fill_pool(unsigned size)
{
	/* one flow: segmentation offload needs it, and nothing else here minds */
	for (unsigned i = 0; i < POOL; i++) {
		vectors[i] = (struct iovec){ pool[i], size_of_frame(size, i) };
		make_frame(pool[i], (unsigned)vectors[i].iov_len, 0);
	}
}

int main(int argc, char **argv)
{
	struct plan plan = {
		.device = argument(argc, argv, "device", "lo"),
		.size = (unsigned)number(argc, argv, "size", 64),
		.batch = (unsigned)number(argc, argv, "batch", 64),
		.bypass = number(argc, argv, "bypass", 0),
		.protocol = (unsigned)number(argc, argv, "protocol", 0),
	};
	uint64_t count = number(argc, argv, "count", 100000), sent = 0, calls = 0;

	if (argc < 2)
		fail("usage: transmit NAME [name=value ...]");
	const struct transmitter *transmitter = find(argv[1]);

	stop_on_sigterm();
	pin((int)number(argc, argv, "cpu", 0));
	fill_pool(plan.size);
	transmitter->open(&plan);

	unsigned first = 0;
	uint64_t cpu = cpu_ns(), wall = now_ns();
	while (sent < count && !stopping && now_ns() - wall < 50000000000u) {
		sent += transmitter->send(&plan, first);
		calls++;
		first = first + 2 * plan.batch > POOL ? 0 : first + plan.batch;
	}
	if (transmitter->finish)
		transmitter->finish();
	wall = now_ns() - wall;
	cpu = cpu_ns() - cpu;
	printf("{\"sent\":%lu,\"calls\":%lu,\"cpu_ns\":%lu,\"wall_ns\":%lu}\n", sent, calls, cpu, wall);
	return 0;
}
