// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The C++ layer: handles that move, frames and blocks in range-for, errors both ways.
#include <pktring.hpp>

#include "check.h"

#include <type_traits>
#include <utility>

using pktring::handle;

static_assert(!std::is_copy_constructible<handle>::value, "one owner");
static_assert(std::is_nothrow_move_constructible<handle>::value, "moved for nothing");
static_assert(!std::is_copy_constructible<pktring::block>::value, "one owner");
static_assert(!std::is_copy_constructible<pktring::slot>::value, "one owner");
static_assert(sizeof(handle) == sizeof(pktring_t *), "a handle and no more");
static_assert(sizeof(pktring::frame) == sizeof(pktring_frame), "a frame and no more");

static const uint32_t FRAMES = 500;

static handle receiver()
{
    pktring_ring ring{};
    ring.block_size = 1 << 16;
    ring.block_count = 64;
    ring.retire_timeout_ms = 5;
    handle rx("vb");
    rx.set_version(PKTRING_V3).set_ring(PKTRING_RX, ring).activate();
    return rx;
}

static void expect(const pktring::frame &frame, uint32_t number)
{
    uint8_t sent[TEST_LONGEST];
    uint32_t length = test_frame(sent, number);
    CHECK(frame.bytes().size() == length);
    CHECK(memcmp(frame.bytes().data(), sent, length) == 0);
    CHECK(frame.bytes().text().size() == length);
    CHECK(frame.network_offset() == 14);
    CHECK(frame.vlan() == -1);
    CHECK(frame.as<uint8_t[14]>() != nullptr);
    CHECK(frame.as<uint8_t[14]>(length) == nullptr);
}

static void send_all()
{
    int sender = plain_sender("va");
    for (uint32_t number = 0; number < FRAMES; number++)
        plain_send(sender, number);
    close(sender);
}

static void frames()
{
    handle rx = receiver();
    send_all();
    uint32_t number = 0;
    while (number < FRAMES && rx.wait(PKTRING_RX, 2000))
        for (const pktring::frame &frame : rx.frames())
            expect(frame, number++);
    CHECK(number == FRAMES);
    CHECK(rx.stats().held == 0);
    CHECK(rx.ring(PKTRING_RX).block_count == 64);
}

static void a_frame_is_given_back_when_the_loop_is_left()
{
    handle rx = receiver();
    send_all();
    CHECK(rx.wait(PKTRING_RX, 2000));
    for (const pktring::frame &frame : rx.frames()) {
        expect(frame, 0);
        break;
    }
    CHECK(rx.stats().held == 0);
}

static void blocks()
{
    handle rx = receiver();
    send_all();
    uint32_t number = 0;
    pktring::block kept;
    while (number < FRAMES && rx.wait(PKTRING_RX, 2000))
        for (pktring::block &block : rx.blocks()) {
            CHECK(block->frame_count > 0);
            for (const pktring::frame &frame : block)
                expect(frame, number++);
            if (!kept)
                kept = std::move(block);
        }
    CHECK(number == FRAMES);
    CHECK(rx.stats().held == kept->frame_count);
    for (const pktring::frame &frame : kept) {
        expect(frame, 0);
        break;
    }
    kept.release();
    CHECK(rx.stats().held == 0);
}

static void transmission()
{
    handle rx = receiver();
    handle opened("va");
    handle tx = std::move(opened);
    CHECK(!opened);
    tx.set_ring(PKTRING_TX).activate();
    for (uint32_t number = 0; number < 10; number++) {
        pktring::slot slot = tx.reserve();
        CHECK(slot && slot.capacity() >= TEST_LONGEST);
        slot.commit(test_frame(slot.data(), number));
        CHECK(!slot);
    }
    { pktring::slot given_up = tx.reserve(); }
    CHECK(tx.flush(2000) == 0);
    uint8_t last[TEST_LONGEST];
    uint32_t length = test_frame(last, 10);
    CHECK(tx.inject(last, length) == static_cast<int>(length));
    uint32_t number = 0;
    while (number < 11 && rx.wait(PKTRING_RX, 2000))
        for (const pktring::frame &frame : rx.frames())
            expect(frame, number++);
    CHECK(number == 11);
}

static void errors()
{
    try {
        handle nowhere("no-such-device");
        nowhere.activate();
        CHECK(false);
    } catch (const pktring::error &error) {
        CHECK(error.code() == std::errc::no_such_device);
        CHECK(strstr(error.what(), "no-such-device") != nullptr);
    }
    std::error_code code;
    handle idle("vb", code);
    CHECK(!code && idle);
    CHECK(idle.wait(PKTRING_RX, 0, code) == -EBUSY);
    CHECK(code.value() == EBUSY);
    CHECK(idle.activate(code) == 0 && !code);
    try {
        idle.set_version(99);
        CHECK(false);
    } catch (const std::system_error &error) {
        CHECK(error.code() == std::errc::invalid_argument || error.code().value() == EBUSY);
    }
    uint8_t frame[1] = {0};
    CHECK(idle.inject(frame, 1, code) < 0 && code);
}

int main()
{
    frames();
    a_frame_is_given_back_when_the_loop_is_left();
    blocks();
    transmission();
    errors();
    return 0;
}
