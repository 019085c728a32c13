/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * doc-fanout INTERFACE MODE [PACKETS]: the document's fanout example. Four processes share what
 * the interface receives; each says every tenth packet that it is alive, and stops after PACKETS
 * (10000), or at ^C. Modes: hash lb cpu rollover rnd qm cbpf ebpf.
 */
#include <errno.h>
#include <pktring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const modes[] = {"hash", "lb", "cpu", "rollover", "rnd", "qm", "cbpf", "ebpf"};

static pktring_t *handle; /* of this process */

static void interrupted(int signal)
{
    (void)signal;
    pktring_breakloop(handle);
}

static void alive(void *user, const struct pktring_frame *frame)
{
    int *left = user;

    (void)frame;
    if (--*left % 10 == 0)
        printf("(%d) \n", (int)getpid());
}

/* One member. A handle is made in the process that uses it: it does not survive fork(2). */
static int member(const char *device, const struct pktring_fanout *group, int packets)
{
    /* For mode cbpf: by the last bits of the IPv4 source address; packets start with the
     * network header here. */
    static const struct pktring_insn by_source[] = {{0x20, 0, 0, 12}, {0x16, 0, 0, 0}};
    char error[PKTRING_ERRBUF_SIZE];
    int left = packets, result;

    handle = pktring_open(device, error);
    if (handle == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    result = pktring_set_protocol(handle, 0x0800); /* ETH_P_IP, as in the document */
    if (result == 0)
        result = pktring_set_fanout(handle, group);
    if (result == 0 && group->mode == PKTRING_FANOUT_CBPF)
        result = pktring_set_fanout_program(handle, by_source, 2);
    if (result == 0)
        result = pktring_activate(handle);
    signal(SIGINT, interrupted);
    if (result == 0)
        result = pktring_loop(handle, packets, alive, &left);
    if (result == 0 || result == -ECANCELED)
        printf("%d: Received %d packets\n", (int)getpid(), packets - left);
    else
        fprintf(stderr, "%d: %s\n", (int)getpid(), pktring_geterr(handle));
    pktring_close(handle);
    return result != 0 && result != -ECANCELED;
}

int main(int argc, char **argv)
{
    struct pktring_fanout group = {.size = sizeof group, .group = getpid() & 0xffff};
    size_t mode = 0, count = sizeof modes / sizeof *modes;
    int packets = argc > 3 ? atoi(argv[3]) : 10000, failed = 0, status;

    if (argc < 3)
        return fprintf(stderr, "Usage: %s INTERFACE {hash|lb|cpu|rollover|rnd|qm|cbpf|ebpf} "
                               "[PACKETS]\n", argv[0]), 1;
    while (mode < count && strcmp(argv[2], modes[mode]) != 0)
        mode++;
    if (mode == count)
        return fprintf(stderr, "Unknown fanout type [%s]\n", argv[2]), 1;
    group.mode = mode; /* in the order of the kernel's numbers; ebpf without a program: member 0 */

    fflush(stdout);
    for (int i = 0; i < 4; i++) {
        switch (fork()) {
        case 0:
            exit(member(argv[1], &group, packets));
        case -1:
            perror("fork");
            return 1;
        }
    }
    signal(SIGINT, SIG_IGN); /* ^C is for them */
    while (wait(&status) > 0)
        failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return failed;
}
