//! What the fuzz targets run, and what tests/fuzz.rs runs over the committed corpus: each module
//! takes arbitrary bytes as a sequence of things that happen, and panics where the library does
//! not keep what it promises.

pub mod arena;
pub mod calls;
pub mod mutate;
pub mod receive;
pub mod world;
