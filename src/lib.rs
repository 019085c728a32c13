//! The whole of Linux PACKET_MMAP behind a C ABI.
