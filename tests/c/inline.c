/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The inline functions and the exported ones of the same name do the same, on good blocks and
 * on corrupt ones, and neither ever reads beyond the block: the page behind it is not there. */
#include "check.h"

#include <errno.h>
#include <pktring.h>
#include <sys/mman.h>

/* The exported functions under another name, since the inline ones hide theirs. */
void twin_init(struct pktring_iter *, const struct pktring_block *) __asm__("pktring_iter_init");
int twin_next(struct pktring_iter *, struct pktring_frame *) __asm__("pktring_iter_next");
const void *twin_part(const struct pktring_frame *, uint32_t, uint32_t)
    __asm__("pktring_frame_part");
int twin_vlan(const struct pktring_frame *) __asm__("pktring_frame_vlan");
uint32_t twin_source(const struct pktring_frame *) __asm__("pktring_frame_timestamp_source");

enum { BLOCK_SIZE = 1 << 16, FIRST = 48, HEADER = 68, MAC = 82, ROUNDS = 20000 };

static uint32_t seed = 1;

static uint32_t number_below(uint32_t limit)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)seed * limit >> 32);
}

/* A block whose end is the end of readable memory. */
static uint8_t *guarded_block(void)
{
    long page = sysconf(_SC_PAGESIZE);
    uint8_t *memory = mmap(NULL, (size_t)(BLOCK_SIZE + page), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(mprotect(memory + BLOCK_SIZE, (size_t)page, PROT_NONE) == 0);
    return memory;
}

/* Fills a block with frames of up to `longest` bytes, as the kernel would. */
static struct pktring_block fill(uint8_t *memory, uint32_t longest)
{
    struct pktring_block block;
    struct tpacket3_hdr *header = NULL;
    uint32_t at = FIRST;

    memset(&block, 0, sizeof block);
    memset(memory, 0xa5, BLOCK_SIZE);
    for (;;) {
        uint32_t length = number_below(longest + 1);
        uint32_t taken = (MAC + length + 7) & ~7u;
        if (at + taken > BLOCK_SIZE)
            break;
        header = (struct tpacket3_hdr *)(memory + at);
        memset(header, 0, HEADER);
        header->tp_next_offset = taken;
        header->tp_sec = 1700000000 + block.frame_count / 64;
        header->tp_nsec = number_below(1000000000);
        header->tp_snaplen = length;
        header->tp_len = length + number_below(9);
        header->tp_status = TP_STATUS_USER;
        if (number_below(2))
            header->tp_status |= TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID;
        if (number_below(2))
            header->tp_status |= TP_STATUS_TS_SOFTWARE;
        header->tp_mac = MAC;
        header->tp_net = MAC + 14;
        ((struct sockaddr_ll *)(memory + at + 48))->sll_family = AF_PACKET;
        header->hv1.tp_rxhash = number_below(UINT32_MAX);
        header->hv1.tp_vlan_tci = number_below(1 << 16);
        header->hv1.tp_vlan_tpid = 0x8100;
        at += taken;
        block.frame_count++;
    }
    header->tp_next_offset = 0;
    block.base = memory;
    block.first_offset = FIRST;
    block.length = at;
    block.size = BLOCK_SIZE;
    block.number = seed;
    return block;
}

/* Every byte that a frame claims to have is read, as its user would. */
static uint32_t read_all(const struct pktring_block *block, const struct pktring_frame *frame)
{
    uint32_t sum = 0;
    if (frame->caplen != 0) {
        CHECK(frame->data >= block->base);
        CHECK(frame->caplen <= (size_t)(block->base + BLOCK_SIZE - frame->data));
    }
    for (uint32_t i = 0; i < frame->caplen; i++)
        sum += frame->data[i];
    CHECK((uintptr_t)frame->addr % 4 == 0);
    for (uint32_t i = 0; i < sizeof frame->addr->addr; i++)
        sum += frame->addr->addr[i];
    return sum;
}

static void compare_accessors(const struct pktring_frame *frame)
{
    uint32_t offset = number_below(frame->caplen + 3), length = number_below(frame->caplen + 3);
    const void *part = pktring_frame_part(frame, offset, length);
    CHECK(part == twin_part(frame, offset, length));
    CHECK(part == (offset + length <= frame->caplen ? frame->data + offset : NULL));
    CHECK(pktring_frame_part(frame, UINT32_MAX, 1) == NULL);
    CHECK(twin_part(frame, 1, UINT32_MAX) == NULL);
    CHECK(pktring_frame_vlan(frame) == twin_vlan(frame));
    CHECK(pktring_frame_timestamp_source(frame) == twin_source(frame));
}

/* Walks a block both ways, side by side. Returns the frames, and the last result. */
static uint32_t walk(const struct pktring_block *block, int *last)
{
    struct pktring_iter mine, twins;
    struct pktring_frame frame, twin;
    uint32_t frames = 0;

    memset(&mine, 0xff, sizeof mine);
    memset(&twins, 0, sizeof twins);
    pktring_iter_init(&mine, block);
    twin_init(&twins, block);
    for (;;) {
        CHECK(memcmp(&mine, &twins, sizeof mine) == 0);
        memset(&frame, 0, sizeof frame);
        memset(&twin, 0, sizeof twin);
        *last = pktring_iter_next(&mine, &frame);
        CHECK(*last == twin_next(&twins, &twin));
        if (*last != 1)
            break;
        CHECK(memcmp(&frame, &twin, sizeof frame) == 0);
        CHECK(frame.number - block->number < block->frame_count);
        read_all(block, &frame);
        compare_accessors(&frame);
        frames++;
    }
    CHECK(frames <= block->frame_count);
    CHECK(pktring_iter_next(&mine, &frame) == 0);
    CHECK(twin_next(&twins, &twin) == 0);
    return frames;
}

/* The fields come out as they were put in. */
static void check_fields(const struct pktring_block *block)
{
    const uint8_t *at = block->base + FIRST;
    uint64_t number = block->number;
    struct pktring_frame frame;
    struct pktring_iter iter;

    pktring_iter_init(&iter, block);
    while (pktring_iter_next(&iter, &frame) == 1) {
        const struct tpacket3_hdr *header = (const struct tpacket3_hdr *)at;
        CHECK(frame.data == at + MAC);
        CHECK(frame.timestamp == header->tp_sec * UINT64_C(1000000000) + header->tp_nsec);
        CHECK(frame.caplen == header->tp_snaplen && frame.len == header->tp_len);
        CHECK(frame.status == header->tp_status && frame.rxhash == header->hv1.tp_rxhash);
        CHECK(frame.mac == MAC && frame.net == MAC + 14);
        CHECK(frame.vlan_tci == header->hv1.tp_vlan_tci && frame.vlan_tpid == 0x8100);
        CHECK(pktring_frame_vlan(&frame) == (header->tp_status & TP_STATUS_VLAN_VALID
                                                 ? (int)(header->hv1.tp_vlan_tci & 0xfff)
                                                 : -1));
        CHECK((const uint8_t *)frame.addr == at + 48);
        CHECK(frame.number == number++);
        at += header->tp_next_offset;
    }
    CHECK(number == block->number + block->frame_count);
}

static void good_blocks(uint8_t *memory)
{
    static const uint32_t longest[] = {0, 64, 300, 600, 1514, 9000, 40000};
    for (size_t i = 0; i < sizeof longest / sizeof *longest; i++) {
        struct pktring_block block = fill(memory, longest[i]);
        int last;
        CHECK(walk(&block, &last) == block.frame_count);
        CHECK(last == 0);
        check_fields(&block);
    }
}

/* Frames that the kernel counted but could not fill are left out, whatever else they say. */
static void phantoms(uint8_t *memory)
{
    struct pktring_block block = fill(memory, 200);
    uint32_t at = FIRST, left_out = 0;
    int last;

    for (uint32_t i = 0; i < block.frame_count; i++) {
        struct tpacket3_hdr *header = (struct tpacket3_hdr *)(memory + at);
        if (i % 3 == 0 || i + 1 == block.frame_count) {
            header->tp_status = 0;
            header->tp_snaplen = UINT32_MAX;
            left_out++;
        }
        at += header->tp_next_offset;
    }
    CHECK(walk(&block, &last) == block.frame_count - left_out);
    CHECK(last == 0);
}

static void chains_that_lead_astray(uint8_t *memory)
{
    static const uint32_t next[] = {0, 1, 8, HEADER - 1, BLOCK_SIZE, BLOCK_SIZE - FIRST - HEADER + 1,
                                    0x7fffffff, 0x80000000, 0xfffffff8, UINT32_MAX};
    for (size_t i = 0; i < sizeof next / sizeof *next; i++) {
        struct pktring_block block = fill(memory, 100);
        int last;
        ((struct tpacket3_hdr *)(memory + FIRST))->tp_next_offset = next[i];
        CHECK(walk(&block, &last) == 1);
        CHECK(last == -EBADMSG);
    }
    struct pktring_block block = fill(memory, 100);
    int last;
    block.first_offset = BLOCK_SIZE - HEADER + 1;
    CHECK(walk(&block, &last) == 0 && last == -EBADMSG);
    block.size = HEADER - 1;
    CHECK(walk(&block, &last) == 0 && last == 0);
}

static void frames_that_reach_too_far(uint8_t *memory)
{
    static const uint32_t snaplen[] = {BLOCK_SIZE - FIRST - MAC + 1, 0x80000000, UINT32_MAX};
    struct pktring_frame frame;
    struct pktring_iter iter;
    int last;

    for (size_t i = 0; i < sizeof snaplen / sizeof *snaplen; i++) {
        struct pktring_block block = fill(memory, 100);
        ((struct tpacket3_hdr *)(memory + FIRST))->tp_snaplen = snaplen[i];
        CHECK(walk(&block, &last) == block.frame_count);
        pktring_iter_init(&iter, &block);
        CHECK(pktring_iter_next(&iter, &frame) == 1);
        CHECK(frame.caplen == 0);
        /* One byte less just fits. */
        ((struct tpacket3_hdr *)(memory + FIRST))->tp_snaplen = BLOCK_SIZE - FIRST - MAC;
        pktring_iter_init(&iter, &block);
        CHECK(pktring_iter_next(&iter, &frame) == 1);
        CHECK(frame.caplen == BLOCK_SIZE - FIRST - MAC);
    }
}

/* Random numbers in random places, mostly in headers. */
static void random_corruption(uint8_t *memory)
{
    int broken = 0, last;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        static struct pktring_block block;
        if (round % 8 == 0)
            block = fill(memory, 20 + round % 1500);
        struct tpacket3_hdr *header = (struct tpacket3_hdr *)(memory + FIRST);
        for (uint32_t skip = number_below(20); skip && header->tp_next_offset < 4096; skip--)
            header = (struct tpacket3_hdr *)((uint8_t *)header + header->tp_next_offset);
        if ((uint8_t *)header > memory + BLOCK_SIZE - HEADER)
            continue;
        for (uint32_t bytes = number_below(4); bytes; bytes--)
            ((uint8_t *)header)[number_below(HEADER)] = (uint8_t)number_below(256);
        if (number_below(16) == 0)
            block.frame_count = number_below(UINT32_MAX);
        walk(&block, &last);
        broken += last == -EBADMSG;
    }
    CHECK(broken > ROUNDS / 10);
}

int main(void)
{
    uint8_t *memory = guarded_block();
    good_blocks(memory);
    phantoms(memory);
    chains_that_lead_astray(memory);
    frames_that_reach_too_far(memory);
    random_corruption(memory);
    return 0;
}
