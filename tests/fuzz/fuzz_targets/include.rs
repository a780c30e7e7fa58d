//! See the docstring of `include` in `targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    holdfast_fuzz::check("include", data);
});
