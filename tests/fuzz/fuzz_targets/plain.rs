//! See the docstring of `plain` in `targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    holdfast_fuzz::check("plain", data);
});
