//! The kernel's side of the boundary: its memory layouts and its system calls.

pub mod call;
pub mod layout;
pub mod netlink;
pub mod stamp;
