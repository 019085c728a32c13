#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pktring_fuzz::calls::run(data));
