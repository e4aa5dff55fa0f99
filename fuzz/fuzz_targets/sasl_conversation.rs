#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kurier_fuzz::sasl_conversation(data));
