#![no_main]

#[path = "../contacts.rs"]
mod contacts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| contacts::check(data));
