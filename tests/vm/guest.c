/* The only process of a virtual machine: sees the library on another kernel than the host's, and
 * with network cards that stamp frames. tests/vm/run builds it, boots it and reads what it prints.
 * On other processors it runs the programs that tests/vm/cross puts beside it, too.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../c/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/net_tstamp.h>
#include <linux/reboot.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>

static int passed, failed;

__attribute__((format(printf, 2, 3)))
static void check(int holds, const char *format, ...)
{
    va_list list;

    printf(holds ? "ok      " : "FAILED  ");
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
    *(holds ? &passed : &failed) += 1;
}

/* Ends the machine, which does not restart. Without goodbye to the devices: their drivers may take
 * for ever. */
static void end(void)
{
    int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

    fflush(stdout);
    tcdrain(1);
    if (write(fd, "b", 1) != 1)
        reboot(LINUX_REBOOT_CMD_RESTART);
    pause();
}

/* What the program cannot go on without. */
static void must(int holds, const char *what)
{
    if (holds)
        return;
    printf("FAILED  %s: %s\n", what, strerror(errno));
    end();
}

/* The machine */

static void load_modules(void)
{
    struct dirent **names;
    int count = scandir("/modules", &names, NULL, alphasort);
    char path[300];

    for (int i = 0; i < count; i++) {
        int fd;
        if (names[i]->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        must(fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0, path);
        close(fd);
    }
}

static short flags_of(int fd, const char *name)
{
    struct ifreq request = {.ifr_flags = 0};

    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    return ioctl(fd, SIOCGIFFLAGS, &request) == 0 ? request.ifr_flags : 0;
}

/* Whether there is such an interface, and its line is up within so many tenths of a second. The card of QEMU 10 stamps one
 * received frame, and none before it has been down again. */
static int bring_up(const char *name, int patience)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct ifreq request = {.ifr_flags = 0};
    int running = 0;

    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags &= ~IFF_UP;
        must(ioctl(fd, SIOCSIFFLAGS, &request) == 0, name);
        request.ifr_flags |= IFF_UP;
        must(ioctl(fd, SIOCSIFFLAGS, &request) == 0, name);
        for (int tries = 0; tries < patience && !running; tries++) {
            running = (flags_of(fd, name) & IFF_RUNNING) != 0;
            usleep(running ? 0 : 100000);
        }
    }
    close(fd);
    return running;
}

/* Has one processor do all that the kernel does for what arrives at an interface. On its way from
 * one end of a veth pair to the other a frame waits at the processor that sent it; a sender that
 * moved to another one under way would be ahead of itself. */
static void keep_in_order(const char *name)
{
    char path[100];
    int fd;

    snprintf(path, sizeof path, "/sys/class/net/%s/queues/rx-0/rps_cpus", name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    must(fd >= 0 && write(fd, "1", 1) == 1, path);
    close(fd);
}

/* The interfaces va and vb, which are the ends of one wire. */
static void make_wire(void)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
        struct rtattr name;
        char va[4];
        struct rtattr info, kind;
        char veth[8];
        struct rtattr data, peer;
        struct ifinfomsg peer_link;
        struct rtattr peer_name;
        char vb[4];
    } wire = {
        .header = {.nlmsg_len = sizeof wire, .nlmsg_type = RTM_NEWLINK,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
        .name = {8, IFLA_IFNAME},
        .va = "va",
        .info = {sizeof wire - offsetof(__typeof__(wire), info), IFLA_LINKINFO},
        .kind = {12, IFLA_INFO_KIND},
        .veth = "veth",
        .data = {sizeof wire - offsetof(__typeof__(wire), data), IFLA_INFO_DATA},
        .peer = {sizeof wire - offsetof(__typeof__(wire), peer), VETH_INFO_PEER},
        .peer_name = {8, IFLA_IFNAME},
        .vb = "vb",
    };
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
    } answer = {.error.error = -EIO};
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

    must(send(fd, &wire, sizeof wire, 0) == sizeof wire, "RTM_NEWLINK");
    must(recv(fd, &answer, sizeof answer, 0) > 0, "RTM_NEWLINK");
    errno = -answer.error.error;
    must(errno == 0, "a veth pair");
    close(fd);
    keep_in_order("va");
    keep_in_order("vb");
    bring_up("va", 0);
    must(bring_up("vb", 20), "vb");
}

/* Runs one command, whose words it takes apart. */
static void run_program(char *command)
{
    char *words[8] = {NULL};
    int count = 0, status = -1;
    pid_t child;

    for (char *word = strtok(command, " \n"); word != NULL && count < 7; word = strtok(NULL, " \n"))
        words[count++] = word;
    if (count == 0)
        return;
    child = fork();
    if (child == 0) {
        execv(words[0], words);
        _exit(127);
    }
    must(child > 0 && waitpid(child, &status, 0) == child, words[0]);
    check(status == 0, "%s: status %#x", words[0], (unsigned)status);
}

/* Runs what /programs names, one command a line. */
static void run_programs(void)
{
    FILE *list = fopen("/programs", "re");
    char command[200];

    if (list == NULL)
        return;
    make_wire();
    while (fgets(command, sizeof command, list) != NULL)
        run_program(command);
    fclose(list);
}

/* Handles and frames */

static pktring_t *open_handle(const char *device, uint32_t version)
{
    char error[PKTRING_ERRBUF_SIZE];
    pktring_t *handle = pktring_open(device, error);

    must(handle != NULL, error);
    must(pktring_set_version(handle, version) == 0, "pktring_set_version");
    return handle;
}

/* Where frames have their number: the card stamps none but messages of the Precision Time Protocol,
 * so that they are Sync messages, and this is in the time that those tell. */
#define NUMBER 48

static void write_frame(uint8_t *frame, uint32_t number)
{
    static const uint8_t header[16] = {255, 255, 255, 255, 255,  255,  2, 0,
                                       0,   0,   0,   1,   0x88, 0xf7, 0, 2};

    memset(frame, 0, 60);
    memcpy(frame, header, sizeof header);
    memcpy(frame + NUMBER, &number, sizeof number);
}

/* Takes frames until the one with this number; its descriptor is left, the frame given back. */
static int receive(pktring_t *handle, uint32_t number, struct pktring_frame *frame)
{
    for (int tries = 0; tries < 100; tries++) {
        int code = pktring_next_frame(handle, frame);
        if (code == 1) {
            uint32_t found = 0;
            if (frame->caplen >= 60 && memcmp(frame->data + 12, "\x88\xf7", 2) == 0)
                memcpy(&found, frame->data + NUMBER, sizeof found);
            pktring_release(handle, frame);
            if (found == number)
                return 1;
        } else if (code < 0 || pktring_wait(handle, PKTRING_RX, 3000) <= 0) {
            return 0;
        }
    }
    return 0;
}

static int send_to(pktring_t *handle, const uint8_t *address, uint32_t number)
{
    struct pktring_slot slot;

    if (pktring_tx_reserve(handle, &slot) != 1)
        return 0;
    write_frame(slot.data, number);
    memcpy(slot.data, address, 6);
    slot.user_data = number;
    return pktring_tx_commit(handle, &slot, 60) == 0 && pktring_tx_flush(handle, 3000) == 0;
}

static int send_frame(pktring_t *handle, uint32_t number)
{
    static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};

    return send_to(handle, everybody, number);
}

/* Options that this kernel is too old for */

static struct utsname kernel;

static int older_than(int major, int minor)
{
    int here[2] = {0, 0};

    sscanf(kernel.release, "%d.%d", &here[0], &here[1]);
    return here[0] < major || (here[0] == major && here[1] < minor);
}

/* Activates and closes a handle that asks for something which came with this Linux version. */
static void check_needs(pktring_t *handle, int set, const char *what, int major, int minor)
{
    char needs[32];
    int code = set == 0 ? pktring_activate(handle) : set;
    const char *text = pktring_geterr(handle);

    snprintf(needs, sizeof needs, "needs Linux %d.%d", major, minor);
    if (older_than(major, minor))
        check(code == -EOPNOTSUPP && strstr(text, needs) != NULL, "%s: %s", what, text);
    else
        check(code == 0, "%s is there: %d", what, code);
    pktring_close(handle);
}

static void check_age(void)
{
    static const struct {
        const char *name;
        uint32_t mode, flags;
        int since[2];
    } groups[] = {
        {"fanout, mode EBPF", PKTRING_FANOUT_EBPF, 0, {4, 3}},
        {"fanout, flag UNIQUEID", 0, PKTRING_FANOUT_FLAG_UNIQUEID, {4, 12}},
        {"fanout, flag IGNORE_OUTGOING", 0, PKTRING_FANOUT_FLAG_IGNORE_OUTGOING, {6, 2}},
    };
    pktring_t *handle = open_handle("lo", PKTRING_V2);

    check_needs(handle, pktring_set_vnet_header(handle, 12), "virtio_net header of 12 bytes", 6, 4);
    handle = open_handle("lo", PKTRING_V2);
    check_needs(handle, pktring_set_ignore_outgoing(handle, 1), "ignoring what is sent", 4, 20);
    handle = open_handle("lo", PKTRING_V2);
    check_needs(handle, pktring_set_busy_poll(handle, 50, 64, 1), "preferred busy polling", 5, 11);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        struct pktring_fanout group = {
            .size = sizeof group, .mode = groups[i].mode, .flags = groups[i].flags};
        handle = open_handle("lo", PKTRING_V2);
        check_needs(handle, pktring_set_fanout(handle, &group), groups[i].name,
                    groups[i].since[0], groups[i].since[1]);
    }
}

/* One UDP frame to be cut into datagrams, which the kernel may be too old for. */
static void check_segments(void)
{
    uint8_t frame[14 + 20 + 8 + 300] = {[12] = 8, [14] = 0x45, [22] = 64, 17, [26] = 127, 0,
                                        0,        1,           127,      0,  0, 1};
    pktring_t *handle = open_handle("lo", PKTRING_V2);
    int code;

    must(pktring_set_vnet_header(handle, 10) == 0 && pktring_activate(handle) == 0,
         "a handle with virtio_net headers");
    code = pktring_inject_segments(handle, frame, sizeof frame, 100);
    if (older_than(6, 2))
        check(code == -EOPNOTSUPP && strstr(pktring_geterr(handle), "needs Linux 6.2") != NULL,
              "UDP segmentation: %d, %s", code, pktring_geterr(handle));
    else
        check(code == 3, "UDP segmentation is there: %d", code);
    pktring_close(handle);
}

/* All the rest at once, and frames through it. */
static void check_rings(uint32_t version)
{
    struct pktring_insn all = {.code = 6, .k = UINT32_MAX};
    struct pktring_frame frame;
    struct pktring_stats stats = {.size = sizeof stats};
    pktring_t *rx = open_handle("lo", version), *tx = open_handle("lo", version);
    struct pktring_ring ring = {.size = sizeof ring};
    int v = (int)version + 1, code = 0, received = 0;

    code |= pktring_set_reserve(rx, 32);
    code |= pktring_set_filter(rx, &all, 1);
    code |= pktring_set_original_device(rx, 1);
    code |= pktring_set_promisc(rx, 0);
    code |= pktring_set_timestamp(rx, PKTRING_RX, PKTRING_TIMESTAMP_SOFTWARE);
    code |= pktring_set_buffer(rx, PKTRING_RX, 1 << 18);
    code |= version == PKTRING_V3 ? 0 : pktring_set_copies(rx, 1);
    code |= pktring_set_ring(tx, PKTRING_RX, NULL) | pktring_set_ring(tx, PKTRING_TX, &ring);
    code |= pktring_set_tx_offset(tx, 1);
    code |= pktring_set_qdisc_bypass(tx, 1);
    code |= pktring_set_buffer(tx, PKTRING_TX, 1 << 20);
    must(code == 0, "settings");
    code = pktring_activate(rx);
    check(code == 0, "V%d receive ring: %s", v, code ? pktring_geterr(rx) : "all set");
    code = pktring_activate(tx);
    check(code == 0, "V%d both rings: %s", v, code ? pktring_geterr(tx) : "all set");
    for (uint32_t number = 1; number <= 50; number++) {
        // The filter changes under way: by the kernel's word, or by time.
        if (number == 25)
            check(pktring_set_filter(rx, &all, 1) == 0, "V%d filter changed", v);
        received += send_frame(tx, number) && receive(rx, number, &frame);
    }
    pktring_stats(rx, &stats);
    check(received == 50 && stats.dropped == 0, "V%d: %d frames of 50, %" PRIu64 " dropped", v,
          received, stats.dropped);
    check(frame.status & PKTRING_STATUS_TS_SOFTWARE, "V%d software stamp", v);
    pktring_close(rx);
    pktring_close(tx);
}

/* Network cards that stamp */

#define STAMPS (PKTRING_STATUS_TS_RAW_HARDWARE | PKTRING_STATUS_TS_SOFTWARE)

static void check_stamps(uint32_t version)
{
    struct pktring_hwtstamp on = {
        .size = sizeof on, .tx_type = HWTSTAMP_TX_ON, .rx_filter = HWTSTAMP_FILTER_ALL};
    struct pktring_hwtstamp now = {.size = sizeof now};
    struct pktring_ring ring = {.size = sizeof ring};
    struct pktring_completion done[4];
    struct pktring_frame frame;
    pktring_t *tx = open_handle("eth0", version), *rx = open_handle("eth1", version);
    int v = (int)version + 1, code, count = 0, received = 0, matched = 0;
    uint32_t first = 0, later = 0;

    code = pktring_set_timestamp(rx, PKTRING_RX, PKTRING_TIMESTAMP_HARDWARE);
    code |= pktring_set_timestamp(tx, PKTRING_TX, PKTRING_TIMESTAMP_HARDWARE);
    code |= pktring_set_ring(tx, PKTRING_TX, &ring);
    must(code == 0, "settings");
    check(pktring_activate(rx) == 0 && pktring_activate(tx) == 0, "V%d on cards that stamp: %s%s",
          v, pktring_geterr(rx), pktring_geterr(tx));
    code = pktring_set_hwtstamp(rx, &on);
    check(code == -ERANGE && strstr(pktring_geterr(rx), "ethtool -T") != NULL,
          "stamps of all frames: %s", pktring_geterr(rx));
    on.rx_filter = HWTSTAMP_FILTER_PTP_V2_EVENT;
    code = pktring_set_hwtstamp(tx, &on);
    check(code == 0, "SIOCSHWTSTAMP: %s, transmit type %" PRIu32 ", receive filter %" PRIu32,
          code ? pktring_geterr(tx) : "done", on.tx_type, on.rx_filter);
    code = pktring_set_hwtstamp(rx, &on);
    code |= pktring_get_hwtstamp(rx, &now);
    check(code == 0 && now.rx_filter == on.rx_filter && now.tx_type == on.tx_type,
          "SIOCGHWTSTAMP tells what was set");

    for (uint32_t number = 1; number <= 10; number++) {
        if (!send_frame(tx, number) || !receive(rx, number, &frame))
            continue;
        received++;
        *(number == 1 ? &first : &later) |= frame.status & STAMPS;
        for (int tries = 0; tries < 20; tries++) {
            int got = pktring_tx_complete(tx, done, 4);
            if (got < 0)
                check(0, "completions: %s", pktring_geterr(tx));
            for (int i = 0; i < got; i++) {
                count++;
                matched += done[i].user_data == number && done[i].timestamp != 0 &&
                           (done[i].status & PKTRING_STATUS_TS_RAW_HARDWARE) != 0;
            }
            if (got != 0)
                break;
            usleep(50000);
        }
    }
    check(received == 10, "V%d: %d frames of 10 over the wire", v, received);
    check(first == PKTRING_STATUS_TS_RAW_HARDWARE, "V%d: received with the card's stamp", v);
    check(later == 0, "V%d: and later with the time at the ring, which they tell", v);
    check(count == 10 && matched == 10,
          "V%d: %d completions, %d of them with the card's stamp of their frame", v, count, matched);
    check(pktring_get_napi_id(rx) == -EAGAIN, "V%d: the kernel tells packet sockets no queue", v);
    pktring_close(rx);
    pktring_close(tx);
}

/* A card lets in what is addressed to a station that somebody wants, and nothing else. */
static void check_unicast(void)
{
    static const uint8_t station[6] = {2, 0, 0, 0, 0, 0x77};
    struct pktring_ring ring = {.size = sizeof ring};
    struct pktring_stats stats = {.size = sizeof stats};
    struct pktring_frame frame;
    pktring_t *tx = open_handle("eth0", PKTRING_V2), *rx = open_handle("eth1", PKTRING_V2);
    struct pktring_insn own[] = {{0x28, 0, 0, 12}, {0x15, 0, 1, 0x88f7}, {6, 0, 0, UINT32_MAX},
                                 {6, 0, 0, 0}};
    uint64_t seen[3];

    must(pktring_set_ring(tx, PKTRING_TX, &ring) == 0 && pktring_activate(tx) == 0, "to send");
    must(pktring_set_filter(rx, own, 4) == 0 && pktring_activate(rx) == 0, "to receive");
    for (uint32_t round = 0; round < 3; round++) {
        if (round == 1)
            check(pktring_add_membership(rx, PKTRING_MEMBERSHIP_UNICAST, station, 6) == 0, "joined");
        if (round == 2)
            check(pktring_drop_membership(rx, PKTRING_MEMBERSHIP_UNICAST, station, 6) == 0, "left");
        // The frame to everybody comes last, and comes.
        must(send_to(tx, station, 2 * round + 1) && send_frame(tx, 2 * round + 2) &&
                 receive(rx, 2 * round + 2, &frame),
             "frames between the cards");
        pktring_stats(rx, &stats);
        seen[round] = stats.received;
    }
    check(seen[0] == 1 && seen[1] == 3 && seen[2] == 4,
          "frames to a station come while a member: %" PRIu64 ", %" PRIu64 ", %" PRIu64, seen[0],
          seen[1], seen[2]);
    pktring_close(rx);
    pktring_close(tx);
}

/* A 32-bit program on a 64-bit kernel. */
static void check_width(void)
{
    pktring_t *handle = open_handle("lo", PKTRING_V1);
    int code = pktring_activate(handle);

    check(code == -EOPNOTSUPP && strstr(pktring_geterr(handle), "32-bit") != NULL, "V1 of 64 bits: %s",
          pktring_geterr(handle));
    pktring_close(handle);
}

int main(void)
{
    uint32_t first;

    mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755);
    must(mount("proc", "/proc", "proc", 0, NULL) == 0, "/proc");
    must(mount("sysfs", "/sys", "sysfs", 0, NULL) == 0, "/sys");
    setvbuf(stdout, NULL, _IOLBF, 0);
    uname(&kernel);
    printf("Linux %s, %s, %s, pages of %ld bytes, pointers of %zu\n", kernel.release, kernel.version,
           kernel.machine, sysconf(_SC_PAGESIZE), sizeof(void *));
    load_modules();
    must(bring_up("lo", 200), "lo");
    first = test_first_version();
    if (first != PKTRING_V1)
        check_width();
    check_age();
    check_segments();
    for (uint32_t version = first; version <= PKTRING_V3; version++)
        check_rings(version);
    run_programs();
    if (bring_up("eth0", 200) && bring_up("eth1", 200))
        check_unicast();
    for (uint32_t version = first; version <= PKTRING_V3; version++)
        if (bring_up("eth0", 200) && bring_up("eth1", 200))
            check_stamps(version);
        else if (version == first)
            printf("skipped: unicast and hardware timestamps: there is no network card\n");
    printf("vm: %d passed, %d failed\n", passed, failed);
    end();
    return 1;
}
