/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The inline part of <pktring.h>, which includes it. What stands here knows only the kernel's
 * own layout (struct tpacket3_hdr, frozen since Linux 3.2) and the descriptors of <pktring.h>,
 * so that code compiled into a program stays right with every later library.
 *
 * The shared library exports each function under the same name, for languages that cannot
 * inline. Both versions do the same.
 */
#ifndef PKTRING_H
#include "../pktring.h"
#endif

#ifndef PKTRING_INLINE_H
#define PKTRING_INLINE_H

/* Begun in <pktring.h>. */
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define PKTRING_RARE_(condition) __builtin_expect(!!(condition), 0)
#define PKTRING_PREFETCH_(address) __builtin_prefetch(address)
/* Compilers think too big of functions that come down to a few instructions in place. */
#define PKTRING_INLINE_ static inline __attribute__((always_inline))
#else
#define PKTRING_RARE_(condition) (condition)
#define PKTRING_PREFETCH_(address) ((void)(address))
#define PKTRING_INLINE_ static inline
#endif

#ifdef __cplusplus
extern "C" {
#define PKTRING_CAST_(type, pointer) reinterpret_cast<type>(pointer)
#define PKTRING_NUMBER_(type, number) static_cast<type>(number)
#define PKTRING_NULL_ nullptr
#else
#define PKTRING_CAST_(type, pointer) ((type)(pointer))
#define PKTRING_NUMBER_(type, number) ((type)(number))
#define PKTRING_NULL_ NULL
#endif

/**
 * Walks the frames of one block, see pktring_iter_init(). The fields are the library's; a copy
 * of the struct walks on by itself.
 */
struct pktring_iter {
    /** Address of the header of the frame that was taken last. Addresses are numbers here, because
        a corrupt block may make one that is none. */
    uint64_t at;
    /** From there to the next header; less than one is long behind the last frame. */
    uint64_t step;
    /** From this address on there is more to do than to take the next frame. */
    uint64_t stop;
    /** The last address at which a header fits. */
    uint64_t last;
    /** Cache lines before this address have been asked for. */
    uint64_t swept;
    /** Number of the next frame. */
    uint64_t number;
    /** Number of the frame behind the last one. */
    uint64_t end_number;
    /** Not 0: single frames ahead are asked for instead. */
    uint64_t predicts;
    /** Not used yet. */
    uint64_t reserved;
};

/** The memory at an address. */
PKTRING_INLINE_ const uint8_t *pktring_bytes_(uint64_t address)
{
    return PKTRING_CAST_(const uint8_t *, PKTRING_NUMBER_(uintptr_t, address));
}

/** Reads a number of the kernel's at any alignment. */
PKTRING_INLINE_ uint32_t pktring_load32_(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

/** Reads a number of the kernel's at any alignment. */
PKTRING_INLINE_ uint16_t pktring_load16_(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

/* Offsets in struct tpacket3_hdr, and what follows from them. */
enum pktring_layout_ {
    PKTRING_V3_NEXT_ = 0,
    PKTRING_V3_SEC_ = 4,
    PKTRING_V3_NSEC_ = 8,
    PKTRING_V3_SNAPLEN_ = 12,
    PKTRING_V3_LEN_ = 16,
    PKTRING_V3_STATUS_ = 20,
    PKTRING_V3_MAC_ = 24,
    PKTRING_V3_NET_ = 26,
    PKTRING_V3_RXHASH_ = 28,
    PKTRING_V3_VLAN_TCI_ = 32,
    PKTRING_V3_VLAN_TPID_ = 36,
    /* struct sockaddr_ll follows the header. */
    PKTRING_V3_ADDR_ = 48,
    PKTRING_V3_LENGTH_ = 68,
    /* What every reader needs ends about there: headers and the first bytes of data. */
    PKTRING_V3_READ_ = 90,
    /* TP_STATUS_USER: the kernel has filled the frame in. */
    PKTRING_V3_USER_ = 1,

    /* Cache lines are asked for this far ahead of the reader, so many at a time, */
    PKTRING_SWEEP_AHEAD_ = 2048,
    PKTRING_SWEEP_STEP_ = 1024,
    /* where frames take no more than this on average. Of larger ones most of what is fetched
       would be payload nobody reads; there the first lines of a frame are asked for, so many
       frames ahead, as if all were as large as the present one. */
    PKTRING_SWEEP_MOST_ = 1024,
    PKTRING_FRAMES_AHEAD_ = 8
};

/**
 * Starts to walk the frames of a block.
 *
 * @param it     receives the iterator. It needs no end: drop it at any time.
 * @param block  a block from pktring_next_block() that was not released yet
 *
 * May be called from any thread; blocks can be handed to other threads to be read there.
 *
 * @code
 * static uint64_t sum_of_lengths(const struct pktring_block *block)
 * {
 *     struct pktring_iter it;
 *     struct pktring_frame frame;
 *     uint64_t sum = 0;
 *
 *     pktring_iter_init(&it, block);
 *     while (pktring_iter_next(&it, &frame) == 1)
 *         sum += frame.len;
 *     return sum;
 * }
 * @endcode
 */
PKTRING_INLINE_ void pktring_iter_init(struct pktring_iter *it, const struct pktring_block *block)
{
    uint64_t base = PKTRING_CAST_(uintptr_t, block->base);
    uint32_t count = block->size < PKTRING_V3_LENGTH_ ? 0 : block->frame_count;

    it->at = base + block->first_offset - PKTRING_V3_LENGTH_;
    it->step = count != 0 ? PKTRING_V3_LENGTH_ : 0;
    it->stop = 0;
    it->last = base + block->size - PKTRING_V3_LENGTH_;
    it->swept = 0;
    it->number = block->number;
    it->end_number = block->number + count;
    it->predicts = count != 0 && block->length / count > PKTRING_SWEEP_MOST_;
    it->reserved = 0;
}

/** Behind the last frame of a chain: whether the block said that this is the last one. */
PKTRING_INLINE_ int pktring_iter_end_(struct pktring_iter *it)
{
    int result = it->number == it->end_number ? 0 : -EBADMSG;

    it->step = 0;
    it->number = it->end_number;
    return result;
}

/**
 * What pktring_iter_next() does now and then: checks that the block has not ended and asks for
 * the cache lines ahead. Headers form a linked list, and each one is a cache miss that the
 * processor cannot foresee, or not far enough ahead.
 */
PKTRING_INLINE_ int pktring_iter_advance_(struct pktring_iter *it)
{
    const uint8_t *lines;

    if (it->at > it->last) {
        it->number = it->end_number - 1;
        return pktring_iter_end_(it);
    }
    if (it->predicts) {
        lines = pktring_bytes_(it->at + it->step * PKTRING_FRAMES_AHEAD_);
        PKTRING_PREFETCH_(lines);
        PKTRING_PREFETCH_(lines + 64);
        PKTRING_PREFETCH_(lines + PKTRING_V3_READ_);
        return 0;
    }
    if (it->swept < it->at)
        it->swept = it->at;
    lines = pktring_bytes_(it->swept);
    PKTRING_PREFETCH_(lines);
    PKTRING_PREFETCH_(lines + 64);
    PKTRING_PREFETCH_(lines + 128);
    PKTRING_PREFETCH_(lines + 192);
    PKTRING_PREFETCH_(lines + 256);
    PKTRING_PREFETCH_(lines + 320);
    PKTRING_PREFETCH_(lines + 384);
    PKTRING_PREFETCH_(lines + 448);
    PKTRING_PREFETCH_(lines + 512);
    PKTRING_PREFETCH_(lines + 576);
    PKTRING_PREFETCH_(lines + 640);
    PKTRING_PREFETCH_(lines + 704);
    PKTRING_PREFETCH_(lines + 768);
    PKTRING_PREFETCH_(lines + 832);
    PKTRING_PREFETCH_(lines + 896);
    PKTRING_PREFETCH_(lines + 960);
    it->swept += PKTRING_SWEEP_STEP_;
    it->stop = it->swept - PKTRING_SWEEP_AHEAD_;
    if (it->stop > it->last)
        it->stop = it->last + 1;
    return 0;
}

/**
 * Takes the next frame of a block.
 *
 * The frame needs no release of its own: pktring_release_block() gives all of them back, and
 * then its pointers must not be used any more. Frames that the kernel counted but could not
 * fill are left out. Fields that the caller never reads cost nothing, where the compiler sees
 * that.
 *
 * @param it     from pktring_iter_init()
 * @param frame  receives the frame; written only when the result is 1. The caplen of a frame
 *               whose header says that it reaches beyond the block is 0.
 * @return 1: a frame was taken. 0: that was the last one. -EBADMSG: the next frame would lie
 *         outside of the block, or there are not as many as the block says; what is left of it
 *         cannot be read, and the next call returns 0.
 *
 * One iterator belongs to one thread at a time; several can walk the same block.
 */
PKTRING_INLINE_ int pktring_iter_next(struct pktring_iter *it, struct pktring_frame *frame)
{
    const uint8_t *header;
    uint64_t at, room;
    uint32_t status, snaplen;
    uint16_t mac;

    do {
        if (PKTRING_RARE_(it->step < PKTRING_V3_LENGTH_))
            return pktring_iter_end_(it);
        it->at += it->step;
        if (PKTRING_RARE_(it->at >= it->stop) && pktring_iter_advance_(it) != 0)
            return -EBADMSG;
        it->number++;
        at = it->at;
        header = pktring_bytes_(at);
        it->step = pktring_load32_(header + PKTRING_V3_NEXT_);
        status = pktring_load32_(header + PKTRING_V3_STATUS_);
    } while (PKTRING_RARE_((status & PKTRING_V3_USER_) == 0));

    room = it->last + PKTRING_V3_LENGTH_ - at;
    mac = pktring_load16_(header + PKTRING_V3_MAC_);
    snaplen = pktring_load32_(header + PKTRING_V3_SNAPLEN_);
    frame->data = pktring_bytes_(at + mac);
    frame->timestamp = pktring_load32_(header + PKTRING_V3_SEC_) * UINT64_C(1000000000) +
                       pktring_load32_(header + PKTRING_V3_NSEC_);
    frame->caplen = mac > room || snaplen > room - mac ? 0 : snaplen;
    frame->len = pktring_load32_(header + PKTRING_V3_LEN_);
    frame->status = status;
    frame->mac = mac;
    frame->net = pktring_load16_(header + PKTRING_V3_NET_);
    frame->rxhash = pktring_load32_(header + PKTRING_V3_RXHASH_);
    frame->vlan_tci = pktring_load32_(header + PKTRING_V3_VLAN_TCI_);
    frame->vlan_tpid = pktring_load16_(header + PKTRING_V3_VLAN_TPID_);
    frame->reserved1 = 0;
    frame->reserved2 = 0;
    /* The kernel aligns headers to 8 bytes; where corruption does not, the pointer still is. */
    frame->addr = PKTRING_CAST_(
        const struct pktring_addr *,
        PKTRING_NUMBER_(uintptr_t, (at & ~UINT64_C(7)) + PKTRING_V3_ADDR_));
    frame->number = it->number - 1;
    return 1;
}

/**
 * Looks at a part of a frame.
 *
 * @param frame   a frame that is held
 * @param offset  where the part starts, in bytes from frame->data
 * @param length  bytes of the part
 * @return the part's address; NULL when it was not captured whole
 *
 * The address is even where offset is, but not aligned beyond that: to be portable, copy
 * numbers out with memcpy().
 */
PKTRING_INLINE_ const void *pktring_frame_part(const struct pktring_frame *frame, uint32_t offset,
                                             uint32_t length)
{
    if (offset > frame->caplen || length > frame->caplen - offset)
        return PKTRING_NULL_;
    return frame->data + offset;
}

/**
 * A part of a frame as a struct: `PKTRING_FRAME_AS(struct ethhdr, frame, 0)` is a
 * `const struct ethhdr *`, or NULL when the frame is too short. The network header starts at
 * `frame->net - frame->mac`.
 */
#define PKTRING_FRAME_AS(type, frame, offset) \
    PKTRING_NUMBER_(const type *, pktring_frame_part((frame), (offset), sizeof(type)))

/**
 * The VLAN id of the tag that the kernel took off a frame.
 *
 * @param frame  a frame descriptor
 * @return 0 to 4095; -1 when no tag was taken off. V1 rings lose the tag.
 */
PKTRING_INLINE_ int pktring_frame_vlan(const struct pktring_frame *frame)
{
    if ((frame->status & PKTRING_STATUS_VLAN_VALID) == 0)
        return -1;
    return PKTRING_NUMBER_(int, frame->vlan_tci & 0x0fff);
}

/**
 * Where the timestamp of a frame was taken.
 *
 * @param frame  a frame descriptor
 * @return PKTRING_STATUS_TS_RAW_HARDWARE: by the NIC, with its own clock.
 *         PKTRING_STATUS_TS_SOFTWARE: by the kernel, when it received the frame. 0: by the
 *         kernel, when it put the frame into the ring.
 */
PKTRING_INLINE_ uint32_t pktring_frame_timestamp_source(const struct pktring_frame *frame)
{
    return frame->status & (PKTRING_STATUS_TS_RAW_HARDWARE | PKTRING_STATUS_TS_SOFTWARE);
}

#ifdef __cplusplus
}
#endif

#endif /* PKTRING_INLINE_H */
