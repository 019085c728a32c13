// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The same through the C++ layer.
#include <pktring.hpp>

#include <cstring>
#include <iostream>

int main()
{
    unsigned char sent[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, 9};
    try {
        pktring::handle rx("vb");
        pktring::handle tx("va");
        rx.activate();
        tx.set_ring(PKTRING_TX).activate();
        pktring::slot slot = tx.reserve();
        std::memcpy(slot.data(), sent, sizeof sent);
        slot.commit(sizeof sent);
        tx.flush(2000);
        while (rx.wait(PKTRING_RX, 2000))
            for (auto &block : rx.blocks())
                for (auto &frame : block)
                    if (frame.len == sizeof sent &&
                        std::memcmp(frame.bytes().data(), sent, sizeof sent) == 0)
                        return 0;
        std::cerr << "the frame did not come\n";
    } catch (const pktring::error &error) {
        std::cerr << error.what() << '\n';
    }
    return 1;
}
