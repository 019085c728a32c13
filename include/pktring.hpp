/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * libpktring for C++17 and later: handles that close themselves, frames and blocks in range-for,
 * errors as exceptions or as codes. Everything is inline and comes down to the C calls.
 *
 *     pktring::handle rx("eth0");
 *     rx.activate();
 *     while (rx.wait(PKTRING_RX, 1000))
 *         for (const pktring::frame &frame : rx.frames())
 *             use(frame.bytes());
 *
 * What is not wrapped here is called with handle.get().
 */
#ifndef PKTRING_HPP
#define PKTRING_HPP

#include <pktring.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

/* Loops come down to those of C only when their steps are compiled in place. */
#if defined(__GNUC__)
#define PKTRING_INPLACE_ __attribute__((always_inline))
#else
#define PKTRING_INPLACE_
#endif

namespace pktring {

/** A failed call: code() is the errno value, what() the library's own text. */
class error : public std::system_error {
public:
    error(int number, const char *text)
        : std::system_error(number, std::generic_category()), text_(text)
    {
    }
    const char *what() const noexcept override { return text_.c_str(); }

private:
    std::string text_;
};

/**
 * The bytes of a frame: a pointer and a length, for as long as the frame is held. A std::span is
 * made of them without a word.
 */
class bytes {
public:
    constexpr bytes(const std::uint8_t *data, std::size_t size) noexcept : data_(data), size_(size)
    {
    }
    constexpr const std::uint8_t *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr const std::uint8_t *begin() const noexcept { return data_; }
    constexpr const std::uint8_t *end() const noexcept { return data_ + size_; }
    constexpr std::uint8_t operator[](std::size_t at) const noexcept { return data_[at]; }
    std::string_view text() const noexcept
    {
        return {reinterpret_cast<const char *>(data_), size_};
    }

private:
    const std::uint8_t *data_;
    std::size_t size_;
};

/** One captured frame: the C descriptor with a few words of C++. */
struct frame : pktring_frame {
    pktring::bytes bytes() const noexcept { return {data, caplen}; }
    std::chrono::nanoseconds since_epoch() const noexcept
    {
        return std::chrono::nanoseconds(timestamp);
    }
    /** The tag's VLAN id, or -1. */
    int vlan() const noexcept { return pktring_frame_vlan(this); }
    /** The struct at an offset; nullptr when the frame is too short for it. */
    template <typename T> const T *as(std::uint32_t offset = 0) const noexcept
    {
        return static_cast<const T *>(pktring_frame_part(this, offset, sizeof(T)));
    }
    /** Where the network header starts in bytes(). */
    std::uint32_t network_offset() const noexcept
    {
        return static_cast<std::uint16_t>(net - mac);
    }
};

/** Where a range of this header ends. */
struct sentinel {};

class handle;

/** The frames that are ready, taken one by one; each is given back when the next is taken. */
class frame_range {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = frame;
        using difference_type = std::ptrdiff_t;
        using pointer = const frame *;
        using reference = const frame &;

        PKTRING_INPLACE_ iterator(pktring_t *handle, frame *place) : handle_(handle), frame_(place)
        {
            take();
        }
        iterator(const iterator &) = delete;
        iterator &operator=(const iterator &) = delete;
        PKTRING_INPLACE_ ~iterator()
        {
            if (more_)
                pktring_release(handle_, frame_);
        }
        const frame &operator*() const noexcept { return *frame_; }
        const frame *operator->() const noexcept { return frame_; }
        PKTRING_INPLACE_ iterator &operator++()
        {
            pktring_release(handle_, frame_);
            take();
            return *this;
        }
        bool operator!=(sentinel) const noexcept { return more_; }
        bool operator==(sentinel) const noexcept { return !more_; }

    private:
        PKTRING_INPLACE_ void take()
        {
            int result = pktring_next_frame(handle_, frame_);
            more_ = true;
            if (result != 1) {
                more_ = false;
                if (result < 0)
                    throw error(-result, pktring_geterr(handle_));
            }
        }

        pktring_t *handle_;
        frame *frame_;
        bool more_ = false;
    };

    explicit frame_range(pktring_t *handle) noexcept : handle_(handle) {}
    PKTRING_INPLACE_ iterator begin() { return iterator(handle_, &frame_); }
    sentinel end() const noexcept { return {}; }

private:
    pktring_t *handle_;
    /* Here and not in the iterator, which then is all registers. */
    frame frame_;
};

/** The frames of a block. */
class block_frames {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = frame;
        using difference_type = std::ptrdiff_t;
        using pointer = const frame *;
        using reference = const frame &;

        PKTRING_INPLACE_ explicit iterator(const pktring_block &block)
        {
            pktring_iter_init(&iter_, &block);
            take();
        }
        const frame &operator*() const noexcept { return frame_; }
        const frame *operator->() const noexcept { return &frame_; }
        PKTRING_INPLACE_ iterator &operator++()
        {
            take();
            return *this;
        }
        bool operator!=(sentinel) const noexcept { return more_; }
        bool operator==(sentinel) const noexcept { return !more_; }

    private:
        PKTRING_INPLACE_ void take()
        {
            int result = pktring_iter_next(&iter_, &frame_);
            more_ = true;
            if (result != 1) {
                more_ = false;
                if (result < 0)
                    throw error(-result, "the headers of a block's frames lead out of it, or end early");
            }
        }

        pktring_iter iter_;
        frame frame_;
        bool more_ = false;
    };

    explicit block_frames(const pktring_block &block) noexcept : block_(&block) {}
    PKTRING_INPLACE_ iterator begin() const { return iterator(*block_); }
    sentinel end() const noexcept { return {}; }

private:
    const pktring_block *block_;
};

/** A block that is held, and given back at the end of its life. */
class block {
public:
    block() noexcept = default;
    block(pktring_t *handle, const pktring_block &taken) noexcept : handle_(handle), block_(taken)
    {
    }
    block(block &&other) noexcept
        : handle_(std::exchange(other.handle_, nullptr)), block_(other.block_)
    {
    }
    block &operator=(block &&other) noexcept
    {
        if (this != &other) {
            release();
            handle_ = std::exchange(other.handle_, nullptr);
            block_ = other.block_;
        }
        return *this;
    }
    ~block() { release(); }

    explicit operator bool() const noexcept { return handle_ != nullptr; }
    const pktring_block *operator->() const noexcept { return &block_; }
    const pktring_block &operator*() const noexcept { return block_; }
    PKTRING_INPLACE_ block_frames::iterator begin() const { return block_frames(block_).begin(); }
    sentinel end() const noexcept { return {}; }
    void release() noexcept
    {
        if (handle_ != nullptr)
            pktring_release_block(std::exchange(handle_, nullptr), &block_);
    }

private:
    pktring_t *handle_ = nullptr;
    pktring_block block_{};
};

/** The blocks that are ready, taken one by one. One that is moved out of the loop stays held. */
class block_range {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = block;
        using difference_type = std::ptrdiff_t;
        using pointer = block *;
        using reference = block &;

        PKTRING_INPLACE_ explicit iterator(pktring_t *handle) : handle_(handle) { take(); }
        block &operator*() noexcept { return block_; }
        block *operator->() noexcept { return &block_; }
        PKTRING_INPLACE_ iterator &operator++()
        {
            take();
            return *this;
        }
        bool operator!=(sentinel) const noexcept { return more_; }
        bool operator==(sentinel) const noexcept { return !more_; }

    private:
        PKTRING_INPLACE_ void take()
        {
            pktring_block taken;
            block_.release();
            int result = pktring_next_block(handle_, &taken);
            if (result < 0)
                throw error(-result, pktring_geterr(handle_));
            more_ = result == 1;
            if (more_)
                block_ = block(handle_, taken);
        }

        pktring_t *handle_;
        bool more_ = false;
        block block_;
    };

    explicit block_range(pktring_t *handle) noexcept : handle_(handle) {}
    PKTRING_INPLACE_ iterator begin() const { return iterator(handle_); }
    sentinel end() const noexcept { return {}; }

private:
    pktring_t *handle_;
};

/** A reserved transmit slot: commit() it, or it is given up at the end of its life. */
class slot {
public:
    slot() noexcept = default;
    slot(pktring_t *handle, const pktring_slot &reserved) noexcept
        : handle_(handle), slot_(reserved)
    {
    }
    slot(slot &&other) noexcept
        : handle_(std::exchange(other.handle_, nullptr)), slot_(other.slot_)
    {
    }
    slot &operator=(slot &&other) noexcept
    {
        if (this != &other) {
            abort();
            handle_ = std::exchange(other.handle_, nullptr);
            slot_ = other.slot_;
        }
        return *this;
    }
    ~slot() { abort(); }

    explicit operator bool() const noexcept { return handle_ != nullptr; }
    std::uint8_t *data() noexcept { return slot_.data; }
    std::size_t capacity() const noexcept { return slot_.capacity; }
    pktring_slot *operator->() noexcept { return &slot_; }
    void commit(std::uint32_t length)
    {
        pktring_t *handle = handle_;
        int result = pktring_tx_commit(handle, &slot_, length);
        if (result < 0)
            throw error(-result, pktring_geterr(handle));
        handle_ = nullptr;
    }
    void commit(std::uint32_t length, std::error_code &code) noexcept
    {
        int result = pktring_tx_commit(handle_, &slot_, length);
        code = std::error_code(result < 0 ? -result : 0, std::generic_category());
        if (result >= 0)
            handle_ = nullptr;
    }
    void abort() noexcept
    {
        if (handle_ != nullptr)
            pktring_tx_abort(std::exchange(handle_, nullptr), &slot_);
    }

private:
    pktring_t *handle_ = nullptr;
    pktring_slot slot_{};
};

/**
 * A handle: moved, never copied, closed at the end of its life. Functions throw pktring::error;
 * those that take a std::error_code set it instead and return what the C function returns.
 */
class handle {
public:
    handle() noexcept = default;
    /** Opens an interface; nullptr and "any" mean every one. */
    explicit handle(const char *device)
    {
        char text[PKTRING_ERRBUF_SIZE] = "";
        handle_ = pktring_open(device, text);
        if (handle_ == nullptr)
            throw error(errno, text);
    }
    handle(const char *device, std::error_code &code) noexcept
        : handle_(pktring_open(device, nullptr))
    {
        code = std::error_code(handle_ == nullptr ? errno : 0, std::generic_category());
    }
    /** Owns what a C function opened. */
    explicit handle(pktring_t *opened) noexcept : handle_(opened) {}
    handle(handle &&other) noexcept : handle_(other.detach()) {}
    handle &operator=(handle &&other) noexcept
    {
        if (this != &other) {
            pktring_close(handle_);
            handle_ = other.detach();
        }
        return *this;
    }
    ~handle() { pktring_close(handle_); }

    /** For the functions of <pktring.h>. */
    pktring_t *get() const noexcept { return handle_; }
    pktring_t *detach() noexcept { return std::exchange(handle_, nullptr); }
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    /** Throws when a C function returned an error; otherwise returns what it returned. */
    int check(int result) const
    {
        if (result < 0)
            throw error(-result, pktring_geterr(handle_));
        return result;
    }
    /** Puts an error that a C function returned into a code. */
    static int check(int result, std::error_code &code) noexcept
    {
        code = std::error_code(result < 0 ? -result : 0, std::generic_category());
        return result;
    }

    handle &set_version(std::uint32_t version)
    {
        check(pktring_set_version(handle_, version));
        return *this;
    }
    handle &set_mode(std::uint32_t mode)
    {
        check(pktring_set_mode(handle_, mode));
        return *this;
    }
    handle &set_protocol(std::uint32_t ethertype)
    {
        check(pktring_set_protocol(handle_, ethertype));
        return *this;
    }
    handle &set_profile(std::uint32_t profile)
    {
        check(pktring_set_profile(handle_, profile));
        return *this;
    }
    handle &set_tx_method(std::uint32_t method)
    {
        check(pktring_set_tx_method(handle_, method));
        return *this;
    }
    handle &set_snaplen(std::uint32_t snaplen)
    {
        check(pktring_set_snaplen(handle_, snaplen));
        return *this;
    }
    handle &set_promisc(bool on)
    {
        check(pktring_set_promisc(handle_, on));
        return *this;
    }
    /** A ring with defaults, or as said; the size field is set here. */
    handle &set_ring(std::uint32_t direction)
    {
        check(pktring_set_ring(handle_, direction, nullptr));
        return *this;
    }
    handle &set_ring(std::uint32_t direction, pktring_ring ring)
    {
        ring.size = sizeof ring;
        check(pktring_set_ring(handle_, direction, &ring));
        return *this;
    }
    pktring_ring ring(std::uint32_t direction) const
    {
        pktring_ring set{};
        set.size = sizeof set;
        check(pktring_get_ring(handle_, direction, &set));
        return set;
    }
    handle &activate()
    {
        check(pktring_activate(handle_));
        return *this;
    }
    int activate(std::error_code &code) noexcept { return check(pktring_activate(handle_), code); }

    /** The events that are there; 0 when the time has passed. */
    std::uint32_t wait(std::uint32_t events, int timeout_ms)
    {
        return static_cast<std::uint32_t>(check(pktring_wait(handle_, events, timeout_ms)));
    }
    int wait(std::uint32_t events, int timeout_ms, std::error_code &code) noexcept
    {
        return check(pktring_wait(handle_, events, timeout_ms), code);
    }
    int fd() const { return check(pktring_fd(handle_)); }
    void breakloop() noexcept { pktring_breakloop(handle_); }

    /** The frames that are ready, without waiting. */
    frame_range frames() noexcept { return frame_range(handle_); }
    /** The blocks that are ready, without waiting. */
    block_range blocks() noexcept { return block_range(handle_); }

    /** A slot to write a frame into; none when the ring is full. */
    slot reserve()
    {
        pktring_slot reserved;
        return check(pktring_tx_reserve(handle_, &reserved)) == 1 ? slot(handle_, reserved)
                                                                 : slot();
    }
    /** Frames still in flight after at most so long. */
    int flush(int timeout_ms = 0) { return check(pktring_tx_flush(handle_, timeout_ms)); }
    int flush(int timeout_ms, std::error_code &code) noexcept
    {
        return check(pktring_tx_flush(handle_, timeout_ms), code);
    }
    int inject(const void *frame, std::size_t length)
    {
        return check(pktring_inject(handle_, frame, length));
    }
    int inject(const void *frame, std::size_t length, std::error_code &code) noexcept
    {
        return check(pktring_inject(handle_, frame, length), code);
    }

    struct pktring_stats stats() const
    {
        struct pktring_stats counted{};
        counted.size = sizeof counted;
        check(::pktring_stats(handle_, &counted));
        return counted;
    }

private:
    pktring_t *handle_ = nullptr;
};

} // namespace pktring

#endif /* PKTRING_HPP */
