//! See the docstring of `url` in `targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    holdfast_fuzz::check("url", data);
});
