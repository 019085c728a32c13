// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The header and the library serve C++ as they serve C.
#include <pktring.h>

#include "check.h"

#include <cerrno>
#include <memory>

struct Close {
    void operator()(pktring_t *handle) const { pktring_close(handle); }
};

int main()
{
    char error[PKTRING_ERRBUF_SIZE] = "";
    std::unique_ptr<pktring_t, Close> handle(pktring_open_capture("vb", 0, 0, error));
    CHECK(handle != nullptr);
    int sender = plain_sender("va");
    plain_send(sender, 1);
    int numbers = 0;
    auto count = [](void *user, const pktring_frame *frame) {
        CHECK(ntohs(frame->addr->protocol) == TEST_ETHERTYPE);
        ++*static_cast<int *>(user);
    };
    CHECK_CALL(handle.get(), pktring_loop(handle.get(), 1, count, &numbers), 0);
    CHECK(numbers == 1);

    CHECK(pktring_open_capture("no-such-device", 0, 0, error) == nullptr);
    CHECK(errno == ENODEV);
    CHECK(strstr(error, "no-such-device") != nullptr);
    return 0;
}
